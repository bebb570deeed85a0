"""How features are read and how a modifier is written are settings of a recipe."""

import pytest
import torch

from tadp_captioning import CaptionRecord, CaptionStore
from tadp_cli.config.paths import with_absolute_paths
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.train import load_backbone
from tadp_cli.prompts.prompter import Prompter


def of_recipe(*settings):
    return load_backbone(load_recipe("scenes-segmentation", ("train.unet_lr_scale=0.1", *settings)), "cpu")


def test_a_recipe_says_where_features_and_maps_are_read():
    taps = "up_blocks.2.attentions.0", "up_blocks.1.attentions.0"
    backbone = of_recipe(f'backbone.taps=["{taps[0]}","{taps[1]}"]', "backbone.map_strides=[8]")
    assert tuple(tap.path for tap in backbone.taps) == taps
    features = backbone(torch.zeros(1, 3, 32, 32), backbone.encode_text(["a ring"]))
    assert list(features.attention) == [8]
    assert [level.shape[1] for level in features.levels] == [level.channels for level in backbone.levels]
    with pytest.raises(ValueError, match=r"no module 'up_blocks.9' in the UNet to tap"):
        of_recipe('backbone.taps=["up_blocks.9"]')
    with pytest.raises(ValueError, match=r"no cross-attention at stride 5: .* has it at strides"):
        of_recipe("backbone.map_strides=[5]")
    with pytest.raises(ValueError, match=r"backbone.map_strides needs maps: set backbone.attention_maps=true"):
        of_recipe("backbone.map_strides=[8]", "backbone.attention_maps=false")


@pytest.mark.parametrize("detached", [True, False])
def test_a_recipe_says_whether_the_gradient_passes_the_maps(detached):
    backbone = of_recipe(f"backbone.detach_maps={str(detached).lower()}")
    features = backbone(torch.zeros(1, 3, 32, 32), backbone.encode_text(["a ring"]))
    assert list(features.attention) == [4, 8], "what the recipe does not say is the source's"
    assert all(maps.requires_grad != detached for maps in features.attention.values())


def test_a_recipe_says_whether_latents_are_noised():
    backbone = of_recipe("backbone.noise=true", "backbone.timestep=200").freeze()
    image, text = torch.zeros(1, 3, 32, 32), backbone.encode_text([""])
    first, again, other = (
        backbone(image, text, generator=torch.Generator().manual_seed(seed)).levels[0] for seed in (0, 0, 1)
    )
    assert torch.allclose(first, again)
    assert not torch.allclose(first, other)


def test_a_folder_called_as_a_source_or_encoder_does_not_take_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tiny", "taesd", "mine"):
        (tmp_path / name).mkdir()
    named = with_absolute_paths(load_recipe("scenes-segmentation", ("backbone.vae=taesd",))).backbone
    assert (named.source, named.vae) == ("tiny", "taesd")
    own = with_absolute_paths(load_recipe("scenes-segmentation", ("backbone.vae=mine", "backbone.unet=tiny"))).backbone
    assert (own.vae, own.unet) == (str(tmp_path / "mine"), str(tmp_path / "tiny"))


class _Images:
    """Of a data set only what prompts of captions need."""

    ids, classes, task = ("a",), ("background", "dog"), "segmentation"
    prompt_names = ("", "dog")


@pytest.mark.parametrize(
    ("domain", "modifier", "grammatical", "reference"),
    [
        ("night", "dreambooth", "a dark sks photo of a dog", "a dashcam photo of a dog at sks night"),
        ("night", "nearby", "a foggy photo of a dog", "a foggy photo of a a dog"),
        ("watercolor", "simple", "a watercolor style painting of a dog", "a watercolor painting of a a dog"),
        ("comic", "null", "a dog", "a dog"),
    ],
)
def test_a_recipe_says_how_modifiers_are_written(domain, modifier, grammatical, reference):
    captions = CaptionStore([CaptionRecord(id="a", caption="a dog")])
    for style, wanted in (("grammatical", grammatical), ("reference", reference)):
        settings = [f"prompt.domain={domain}", f"prompt.modifier={modifier}", f"prompt.modifier_style={style}"]
        settings += ["backbone.unet=tuned/unet"] if modifier == "dreambooth" else []
        prompt = load_recipe("scenes-segmentation", tuple(settings)).prompt
        assert Prompter(config=prompt).of_data(_Images, None, captions).texts == {"a": wanted}
        fresh = Prompter(config=prompt).of_captions(["a dog"], None)
        assert list(fresh.texts.values()) == [wanted], "as in prediction"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("prompt.modifier_style=literal",), "unknown prompt.modifier_style 'literal'; choose from grammatical, ref"),
        (
            ("prompt.modifier=nearby", "prompt.domain=clipart", "prompt.modifier_style=reference"),
            "the paper's code has no string for modifier 'nearby' of domain 'clipart'",
        ),
        (
            (
                "prompt.modifier=textual-inversion",
                "prompt.domain=night",
                "prompt.token_file=t.safetensors",
                "prompt.token=<mine>",
                "prompt.modifier_style=reference",
            ),
            "prompt.modifier_style 'reference' writes <night>, and prompt.token is '<mine>'",
        ),
    ],
)
def test_literal_strings_that_the_code_lacks_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("scenes-segmentation", settings)
