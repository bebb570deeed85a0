"""Vision transformers: the whole table on the meta device, and a tiny model of every family."""

import pytest
import torch
from torch.testing import assert_close
from vision_models import tiny_config, tiny_vision, word_tokenizer

from tadp_backbone import VisionBackbone, VisionTextBackbone, load_backbone
from tadp_backbone.vision.config import VisionConfig
from tadp_backbone.vision.families import FAMILIES
from tadp_backbone.vision.pyramid import level_strides, quarter_taps, resample
from tadp_backbone.vision.table import VISION_BACKBONES, is_vision


def built(config, **settings):
    """The backbone around a model of this config with random weights."""
    family = FAMILIES[config.model_type]
    model, settings = family.build(config).eval(), VisionConfig(**settings)
    if family.two_towers:
        return VisionTextBackbone(model=model, tokenizer=word_tokenizer(), config=settings)
    return VisionBackbone(model=model, config=settings)


def assert_levels_are_real(backbone, device):
    """For an image whose sides are no multiples of anything."""
    size = (2 * backbone.size_multiple - 3, backbone.size_multiple + 5)
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, *size, device=device), backbone.blank_context(1))
    real = [tuple(level.shape[1:]) for level in features.levels]
    assert real == [(c, -(-size[0] // s), -(-size[1] // s)) for c, s in backbone.levels]
    assert [stride for _, stride in backbone.levels] == sorted(backbone.strides)
    assert list(features.attention) == list(backbone.map_strides)


QUICK = ("dinov2-vits14", "dinov2-vits14-reg", "dinov3-vits16", "clip-vitb32", "siglip2-base-patch16-224")
QUICK += ("siglip2-base-patch16-naflex",)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in VISION_BACKBONES]
)
def test_levels_of_the_table_are_what_the_model_gives(name):
    """At full width; of the blocks, which are all alike, four stand for all."""
    entry, config = VISION_BACKBONES[name], VISION_BACKBONES[name].model_config()
    for tower in (config, *(getattr(config, f"{part}_config", config) for part in ("vision", "text"))):
        tower.num_hidden_layers = 4
    with torch.device("meta"):
        backbone = built(config).to("meta")
        assert_levels_are_real(backbone, "meta")
    assert entry.licence
    assert entry.source is None or "/" in entry.source.repository
    assert entry.revision
    assert is_vision(name)


@pytest.mark.parametrize(
    ("name", "millions"),
    # As the models' pages and papers have them: image tower alone for the first three, both towers for the others.
    [
        ("dinov2-vitb14", 86.6),
        ("dinov3-vitl16", 303.1),
        ("dinov3-vith16plus", 840.6),
        ("clip-vitl14", 427.6),
        ("siglip2-base-patch16-224", 375.2),
        ("siglip2-so400m-patch16-512", 1136.6),
    ],
)
def test_sizes_are_those_of_the_published_models(name, millions):
    with torch.device("meta"):
        model = FAMILIES[VISION_BACKBONES[name].model_type].build(VISION_BACKBONES[name].model_config())
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=2e-3)


def test_patches_of_14_and_16_pixels_give_the_strides_of_stable_diffusion():
    assert level_strides(14) == level_strides(16) == level_strides(32) == (8, 16, 32, 64)
    assert level_strides(4) == (2, 4, 8, 16)
    assert quarter_taps(24) == (6, 12, 18, 24)
    assert quarter_taps(27) == (6, 13, 20, 27)


@pytest.mark.parametrize("patch_size", [14, 16, 32])
@pytest.mark.parametrize("index", range(4))
def test_cells_lie_where_the_image_has_them(patch_size, index):
    """A feature that is its own place in the image is resampled to the centres of the level's cells."""
    strides, size, cells = level_strides(patch_size), (128, 192), -(-192 // patch_size)
    centres = (torch.arange(cells) + 0.5) * patch_size
    grid = centres.expand(1, 1, -(-128 // patch_size), cells)
    level = resample(grid, patch_size, strides, index, size)
    assert level.shape[-2:] == (128 // strides[index], 192 // strides[index])
    expected = (torch.arange(192 // strides[index]) + 0.5) * strides[index]
    inner = (expected > patch_size) & (expected < 192 - patch_size)  # at the border the outermost centre is repeated
    assert_close(level[0, 0, 0][inner], expected[inner])


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request, tmp_path_factory):
    return tiny_vision(request.param, tmp_path_factory.mktemp(request.param))


def context_of(backbone, texts):
    return backbone.encode_text(texts) if hasattr(backbone, "encode_text") else None


def test_a_saved_model_of_each_family_reads_back(folder, tmp_path):
    backbone = load_backbone(folder)
    assert isinstance(backbone, VisionTextBackbone) == FAMILIES[backbone.model.config.model_type].two_towers
    assert backbone.config.image_std == (0.25,) * 3
    assert_levels_are_real(backbone, "cpu")
    images = torch.rand(2, 3, 20, 36) * 2 - 1
    with torch.no_grad():
        before = backbone(images, context_of(backbone, ["a cat", "a dog"]))
        backbone.save_pretrained(tmp_path)
        again = load_backbone(tmp_path)
        after = again(images, context_of(again, ["a cat", "a dog"]))
    assert again.config == backbone.config
    assert again.fingerprint() == backbone.fingerprint()
    assert load_backbone(tmp_path, image_limit=2.0).fingerprint() != backbone.fingerprint()
    for one, other in zip(before.levels, after.levels, strict=True):
        assert_close(one, other)


def test_training_reaches_all_that_is_not_listed(folder):
    """Frozen, fine-tuned with gradient checkpointing, or low-rank updates."""
    backbone = load_backbone(folder).train()
    images, context = torch.rand(1, 3, 16, 16), context_of(backbone, ["a cat"])

    def gradients():
        backbone.zero_grad()
        sum(level.square().sum() for level in backbone(images, context).levels).backward()
        return {name: p.grad for name, p in backbone.tower.named_parameters() if p.requires_grad}

    from fnmatch import fnmatchcase

    plain = {name: None if grad is None else grad.clone() for name, grad in gradients().items()}
    missing = [name for name, grad in plain.items() if grad is None]
    assert all(any(fnmatchcase(f"unet.{name}", pattern) for pattern in backbone.unreached) for name in missing), missing
    backbone.checkpoint_gradients(True)
    for name, grad in gradients().items():
        if grad is not None:
            assert_close(grad, plain[name], rtol=1e-3, atol=1e-4)
    backbone.checkpoint_gradients(False)

    before = backbone(images, context).levels[0].detach()
    backbone.add_low_rank(2, seed=0)
    added = {name for name, _ in backbone.tower.named_parameters() if "lora_" in name}
    assert len(added) == 2 * 4 * 4  # two matrices for each of four projections in four blocks
    assert_close(backbone(images, context).levels[0].detach(), before)
    with torch.no_grad():
        for name, parameter in backbone.tower.named_parameters():
            if "lora_B" in name:
                parameter.add_(0.1)
    changed = backbone(images, context).levels[0].detach()
    with backbone.low_rank_merged():
        assert_close(backbone(images, context).levels[0].detach(), changed, rtol=1e-4, atol=1e-5)
    backbone.merge_low_rank()
    assert not any("lora" in name for name, _ in backbone.named_parameters())
    assert_close(backbone(images, context).levels[0].detach(), changed, rtol=1e-4, atol=1e-5)
    assert not any(p.requires_grad for p in backbone.freeze().parameters())


@pytest.mark.parametrize("kind", ["clip", "siglip", "siglip2"])
def test_class_maps_are_cosines_of_patches_and_classes(kind):
    torch.manual_seed(0)
    words = (("cat",), ("dog", "red dog"), ("dining table",), ("table",))
    backbone = built(tiny_config(kind), class_words=words)
    context = backbone.encode_text(["a red dog", "the dining table"])
    assert context.shape[:2] == (2, 4)
    assert (context.norm(dim=-1) > 0).tolist() == [[False, True, False, False], [False, False, True, False]]
    with torch.no_grad():
        features = backbone(torch.rand(2, 3, 32, 32), context)
    maps = features.attention[4]
    assert maps.shape == (2, 4, 8, 8)
    assert maps.abs().amax() <= 1 + 1e-5
    assert_close(maps[0, 0], torch.zeros(8, 8))
    assert maps[0, 1].std() > 0
    assert_close(features.levels[1][:, -4:], maps)
    assert [level.channels for level in backbone.levels] == [16, 20, 20, 16]


def test_patches_are_embedded_as_if_each_was_an_image_of_its_own():
    """The pooled embedding of a single patch is the published one: `get_image_features` of an image of one patch."""
    torch.manual_seed(0)
    backbone = built(tiny_config("siglip", 32))
    backbone.model.vision_model.encoder.layers = backbone.model.vision_model.encoder.layers[-1:]
    from tadp_backbone.vision.text import text_aligned

    pixels = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        tokens = backbone.tower.embeddings(pixels)
        expected = backbone.model.get_image_features(pixel_values=pixels).pooler_output
        found = text_aligned(backbone.model, backbone.family, backbone.tower, tokens)[0]
    assert_close(found, torch.nn.functional.normalize(expected, dim=-1))


def test_presence_is_one_where_the_prompt_names_the_class():
    backbone = built(tiny_config("clip"), class_words=(("cat",), ("dog",)), class_input="presence")
    features = backbone(torch.zeros(1, 3, 16, 16), backbone.encode_text(["a dog"]))
    assert features.levels[1][0, -2:].flatten(1).unique(dim=1).tolist() == [[0.0], [1.0]]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"taps": ("1", "2", "3", "9")}, "blocks of 1 to 4"),
        ({"taps": ("up_blocks.1",)}, "numbers of its blocks"),
        ({"map_strides": (4,)}, "no text tower"),
        ({"timestep": 3}, "no setting timestep"),
    ],
)
def test_settings_that_do_not_fit_are_reported(settings, expected, tmp_path):
    with pytest.raises(ValueError, match=expected):
        load_backbone(tiny_vision("dinov3_vit", tmp_path), **settings)


def test_unknown_and_gated_models_say_what_to_do(monkeypatch, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"accept it at https://huggingface.co/facebook/dinov3-vitl16.*hf auth"):
        load_backbone("dinov3-vitl16", offline=True)
    with pytest.raises(FileNotFoundError, match="tadp fetch dinov2-vitb14"):
        load_backbone("dinov2-vitb14", offline=True)
    with pytest.raises(ValueError, match="dinov3-vitl16"):
        load_backbone("dinov3-vitx99")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="dinov3_vit"):
        VisionBackbone.from_pretrained(tmp_path)
