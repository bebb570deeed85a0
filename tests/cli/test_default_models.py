"""Which models are used where none is named, and the line where the tiny ones get what they were not made for."""

import shutil

import pytest
from invoking import tadp
from PIL import Image

from tadp_cli.config.default_models import default_backbone, default_captioner, default_recipe
from tadp_cli.config.recipe import load_recipe
from tadp_heads.data.scenes.write import write_scenes

WARNING = "WARNING: the tiny "


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scenes, the same images without what says that they are, and a photograph."""
    root = tmp_path_factory.mktemp("world")
    for split in ("train", "val"):
        write_scenes(root / "scenes", task="segmentation", domain="photo", split=split, count=2, seed=1, size=32)
    shutil.copytree(root / "scenes", root / "mine")
    for marker in (root / "mine").glob("scenes_*.json"):
        marker.unlink()
    Image.new("RGB", (48, 32), "green").save(root / "photo.jpg")
    return root


def test_one_rule_for_data_that_are_scenes_and_for_all_other_data(world):
    scenes, mine = world / "scenes", world / "mine"
    for data, backbone, captioner in (
        ((), "tiny", "tiny"),
        ((scenes,), "tiny", "tiny"),
        ((scenes / "images", scenes / "images" / "val_00000.png"), "tiny", "tiny"),
        ((scenes, mine), "sd15", "blip2"),
        ((world / "photo.jpg",), "sd15", "blip2"),
        ((f"cityscapes:{scenes}",), "sd15", "blip2"),
    ):
        assert (default_backbone(data), default_captioner(data)) == (backbone, captioner), data
    assert (default_recipe(None), default_recipe(scenes), default_recipe(mine)) == (
        *("scenes-segmentation", "scenes-segmentation", "segmentation"),
    )
    assert default_recipe(f"nyuv2:{mine}") == "depth"


def test_a_recipe_follows_the_rule_where_it_names_no_model(world, tmp_path):
    (tmp_path / "own.toml").write_text('task = "segmentation"\n')
    found = {}
    for recipe in (str(tmp_path / "own.toml"), "scenes-segmentation", "segmentation"):
        for folder in ("", "scenes", "mine"):
            data = () if not folder else (f"data.folder={world / folder}",)
            resolved = load_recipe(recipe, data).with_backbone
            found[recipe.rpartition("/")[2], folder] = (resolved.backbone.source, resolved.captioner)
    tiny, large = ("tiny", "tiny"), ("sd15", "blip2")
    own = {("own.toml", ""): tiny, ("own.toml", "scenes"): tiny, ("own.toml", "mine"): large}
    explicit = {("scenes-segmentation", where): tiny for where in ("", "scenes", "mine")}
    stable = {
        ("segmentation", ""): large,
        ("segmentation", "scenes"): ("sd15", "tiny"),
        ("segmentation", "mine"): large,
    }
    assert found == own | explicit | stable


@pytest.mark.slow
def test_the_tiny_models_on_other_images_are_reported_once(world, tmp_path):
    mine, run = world / "mine", tmp_path / "run"
    short = ("--set", "train.steps=1", "--set", "train.batch_size=1", "--set", "head.width=4")
    output = {
        "caption": tadp("caption", mine, "--captioner", "tiny", "--out", tmp_path / "c.jsonl"),
        "train": tadp("train", "scenes-segmentation", "--data", mine, "--out", run, *short),
        "eval": tadp("eval", run),
        "predict": tadp("predict", run, world / "photo.jpg", "--out", tmp_path / "p"),
        "explain": tadp(
            *("explain", world / "photo.jpg", "--caption", "a tree", "--backbone", "tiny", "--out", tmp_path / "w.png")
        ),
    }
    adapted = tmp_path / "adapted"
    shutil.copytree(run, adapted / "run")
    (adapted / "adapt.json").write_text("{}")
    few = ("--images", "2", "--out", tmp_path / "analyses")
    output["analyze"] = tadp("analyze", "attention", "--run", adapted, *few)
    assert {command: text.count(WARNING) for command, text in output.items()} == dict.fromkeys(output, 1)
    assert "WARNING: the tiny backbone and captioner on images that are not Scenes" in output["train"]
    assert "know only Scenes: good for trying every step, no models of photographs" in output["caption"]


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        (("caption", "{mine}", "--out", "{tmp}/c.jsonl"), "--captioner tiny"),
        (("train", "--data", "{mine}", "--out", "{tmp}/run"), "--set backbone.source=tiny"),
        (
            ("adapt", "--source", "{mine}", "--target", "{mine}/images", "--domain", "night", "--out", "{tmp}/adapted"),
            "--set backbone.source=tiny",
        ),
        (("explain", "{mine}/images/val_00000.png", "--caption", "a", "--out", "{tmp}/w.png"), "--backbone tiny"),
        (("personalize", "--domain", "night", "--images", "{mine}", "--out", "{tmp}/token"), "--backbone tiny"),
    ],
    ids=lambda given: given[0] if isinstance(given, tuple) else "",
)
def test_without_the_large_weights_a_line_names_the_tiny_ones(world, tmp_path, monkeypatch, arguments, option):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    given = [argument.format(mine=world / "mine", tmp=tmp_path) for argument in arguments]
    output = tadp(*given, code=2 if arguments[0] == "caption" else 1)
    assert f"or take {option}: the tiny models come with tadp and know only Scenes" in output
    assert WARNING not in output
    assert output.count("error:") == 1
