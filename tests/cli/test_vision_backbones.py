"""Vision transformers in the commands: training, evaluation and prediction with a tiny random model of each family."""

import json

import pytest
from invoking import tadp
from official_layouts import LAYOUTS
from PIL import Image
from sdxl import narrow_sdxl
from vision_models import tiny_vision

from tadp_backbone import DiffusionBackbone
from tadp_backbone.vision.families import FAMILIES
from tadp_cli.app.models import LoadedRun
from tadp_cli.config.recipe import load_recipe
from tadp_cli.config.vision import for_backbone, vision_settings
from tadp_heads.data.scenes.write import write_scenes

SHORT = ("protocol=whole", "train.steps=1", "train.warmup=0", "train.batch_size=1", "train.accumulate=1")
SHORT += ("train.workers=0",)
KINDS = [kind for kind in FAMILIES if not kind.endswith("_vision_model")]


def options(*settings):
    return [part for setting in settings for part in ("--set", setting)]


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    root = tmp_path_factory.mktemp("voc")
    for split in ("trainaug", "val"):
        LAYOUTS["voc2012"](root, split, (48, 40))
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_each_family_trains_and_is_evaluated_and_predicts(kind, voc, tmp_path):
    """Fine-tuned without text, with low-rank updates and captions, or frozen with maps by class."""
    source, run = tiny_vision(kind, tmp_path / "model"), tmp_path / "run"
    trained = {
        "dinov2": ("train.unet_lr_scale=1.0",),
        "clip": ("train.lora_rank=2", "prompt.kind=class-names"),
        "siglip2": ("train.unet_lr_scale=0", "prompt.kind=class-names"),
        "siglip": ("train.unet_lr_scale=0", "backbone.map_index=class", "prompt.kind=class-names"),
    }.get(kind, ("train.unet_lr_scale=0",))
    settings = options(f"backbone.source={source}", "train.size=32", "head.width=64", *SHORT, *trained)
    tadp("train", "voc2012", "--data", f"voc2012:{voc}", "--out", run, "--device", "cpu", *settings)
    recipe = load_recipe(run / "config.toml")
    assert recipe.prompt.kind == ("empty" if kind.startswith("dino") else recipe.prompt.kind)
    assert recipe.backbone.posterior == ""
    first = json.loads((run / "results.json").read_text())["evaluations"][0]["metrics"]
    tadp("eval", run, "--device", "cpu")
    again = json.loads((run / "results.json").read_text())["evaluations"][0]["metrics"]
    assert again["mIoU"] == pytest.approx(first["mIoU"], abs=1e-4)
    image = tmp_path / "image.png"
    Image.new("RGB", (37, 29), (90, 120, 30)).save(image)
    tadp("predict", run, image, "--out", tmp_path / "predictions", "--device", "cpu")
    assert (tmp_path / "predictions" / "image_mask.png").is_file()
    tadp("predict", run, image, "--tile", "32", "--out", tmp_path / "tiles", "--device", "cpu")
    with Image.open(tmp_path / "tiles" / "image_mask.png") as mask:
        assert mask.size == (37, 29)
    if kind == "clip":
        with pytest.raises(ValueError, match="has no attention to words: choose another run"):
            LoadedRun(run, "cpu")
        assert "failed: the run's backbone has no latents" in tadp(
            "label-next", run, image, "--by", "entropy", "--out", tmp_path / "next.txt", "--device", "cpu"
        )


def test_settings_of_diffusion_are_not_used_and_those_that_cannot_be_are_reported(tmp_path):
    source = tiny_vision("dinov3_vit", tmp_path)
    recipe = load_recipe("cityscapes-dark-zurich", (f"backbone.source={source}", "backbone.taps=['1','2','3','4']"))
    used = for_backbone(recipe)
    assert (used.backbone.image_range, used.backbone.posterior, used.prompt.kind) == ("sd", "", "empty")
    assert for_backbone(used) == used
    assert vision_settings(used) == {"taps": ("1", "2", "3", "4")}
    with pytest.raises(ValueError, match=r"backbone.lora is for diffusion models, and .* leave it out"):
        for_backbone(recipe.replace(**{"backbone.lora": "some"}))
    tiny_vision("clip", tmp_path / "clip")
    embedded = load_recipe("voc2012", (f"backbone.source={tmp_path / 'clip'}", "prompt.kind=averaged-eos"))
    with pytest.raises(ValueError, match=r"'averaged-eos' is made with a diffusion model"):
        for_backbone(embedded)
    assert for_backbone(load_recipe("voc2012")) == load_recipe("voc2012")


def test_what_needs_a_unet_names_the_vision_transformer(tmp_path):
    """`tadp segment --backbone dinov2-vits14` said that there is no backbone of that name."""
    for source in ("random-dinov3", tiny_vision("dinov2", tmp_path)):
        with pytest.raises(ValueError, match="is a vision transformer, and a diffusion model is needed here"):
            DiffusionBackbone.from_pretrained(source)


def test_doctor_describes_a_vision_transformer_and_fetch_knows_its_name():
    said = tadp("doctor", "--backbone", "dinov3-vitl16")
    assert "303.13 M parameters" in said
    assert "model.layer.23" in said
    assert "accept it at https://huggingface.co/facebook/dinov3-vitl16" in tadp(
        "fetch", "dinov3-vitl16", "--offline", code=1
    )


def test_a_narrow_model_of_sdxl_trains_is_evaluated_and_predicts(tmp_path):
    write_scenes(tmp_path / "data", task="segmentation", domain="photo", split="train", count=2, seed=0)
    write_scenes(tmp_path / "data", task="segmentation", domain="photo", split="val", count=1, seed=1)
    narrow_sdxl().save_pretrained(tmp_path / "model")
    settings = options(f"backbone.source={tmp_path / 'model'}", "prompt.kind=class-names", "head.width=16", *SHORT)
    settings += options("train.unet_lr_scale=1.0", "backbone.map_index=class")
    call = ("train", "scenes-segmentation", "--data", tmp_path / "data", "--out", tmp_path / "run", "--device", "cpu")
    tadp(*call, *settings)
    tadp("eval", tmp_path / "run", "--device", "cpu")
    image = tmp_path / "image.png"
    Image.new("RGB", (37, 29), (90, 120, 30)).save(image)
    tadp("predict", tmp_path / "run", image, "--out", tmp_path / "predictions", "--device", "cpu")
    assert (tmp_path / "predictions" / "image_mask.png").is_file()
