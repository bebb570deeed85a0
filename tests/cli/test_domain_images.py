"""From which images a domain is learned, and that data sets are captioned by their reader's ids."""

import json
import logging
from dataclasses import replace

import pytest
from invoking import tadp
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.experiments.reproduce.plan import Bench, images_of_domain
from tadp_cli.inputs.domain_images import domain_images, drawn, target_images
from tadp_cli.inputs.prepare import domain_settings
from tadp_cli.run.guard import claim
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_personalize import PRESETS


@pytest.fixture(scope="module")
def paintings(tmp_path_factory):
    """Two images to train on and two to test on, with boxes."""
    root = tmp_path_factory.mktemp("paintings")
    for split, first in (("train", 0), ("test", 2)):
        write_scenes(root, task="detection", domain="watercolor", split=split, count=2, seed=0, first=first, size=32)
    return root


def names(files):
    return sorted(file.stem for file in files)


def ids(root, split):
    return sorted(open_data(root, "detection", split).ids)


def test_the_evaluated_split_is_not_learned_from_unless_the_user_says_so(paintings, tmp_path):
    named = f"watercolor2k:{paintings}"
    for target in (named, str(paintings)):
        assert names(target_images(target, "detection", "test")) == ids(paintings, "train")
        assert names(target_images(target, "detection", "test", "test")) == ids(paintings, "test")
    with pytest.raises(ValueError, match="the split train is evaluated"):
        target_images(named, "detection", "train")
    assert names(target_images(named, "detection", "train", "train")) == ids(paintings, "train")
    assert target_images(str(paintings / "JPEGImages"), "detection", "") == paintings / "JPEGImages"


def test_without_a_training_split_all_that_is_not_evaluated_is_learned_from(tmp_path):
    write_scenes(tmp_path, task="detection", domain="comic", split="test", count=2, seed=0, size=32)
    with pytest.raises(ValueError, match="all of its images are in the split test, which is evaluated"):
        target_images(str(tmp_path), "detection", "test")
    Image.new("RGB", (8, 8)).save(tmp_path / "JPEGImages" / "unlabelled.png")
    assert names(target_images(str(tmp_path), "detection", "test")) == ["unlabelled"]


def test_images_are_drawn_by_the_seed(paintings, caplog):
    images = domain_images(f"watercolor2k:{paintings}") + domain_images(str(paintings), "test")
    draws = [names(drawn(images[::step], 2, seed)) for step, seed in ((1, 0), (-1, 0), (1, 1), (1, 2), (1, 3))]
    assert draws[0] == draws[1], "whatever the order in which they are listed"
    assert len({tuple(draw) for draw in draws}) > 1
    assert drawn(images, 0, 0) == images
    assert drawn(paintings, 0, 0) == paintings
    with caplog.at_level(logging.WARNING):
        assert names(drawn(paintings, 9, 0)) == names(images)
    assert "learned from 4 images, fewer than the 9 requested" in caplog.text


def test_recipes_have_the_papers_numbers_of_images():
    counts = {name: load_recipe(name).personalize.count for name in ("voc-comic2k", "voc-watercolor2k")}
    assert counts == {"voc-comic2k": 5, "voc-watercolor2k": 5}
    assert load_recipe("cityscapes-dark-zurich").personalize.count == 500
    assert load_recipe("scenes-comic").personalize.count == 0


def test_a_lora_is_found_where_it_is_learned(tmp_path):
    settings = domain_settings(tmp_path, "comic", "dreambooth", 8)
    folder = tmp_path / "domains" / "comic" / "dreambooth-rank8"
    assert settings == {"backbone.unet": "", "backbone.lora": str(folder / "pytorch_lora_weights.safetensors")}
    recipe = load_recipe("table-5/comic-dreambooth").replace(**settings)
    assert not recipe.backbone.unet
    assert "backbone.lora" not in domain_settings(tmp_path, "comic", "dreambooth")
    earlier = tmp_path / "looks" / "comic" / "dreambooth-rank8"  # of an earlier version
    earlier.mkdir(parents=True)
    lora = domain_settings(tmp_path, "comic", "dreambooth", 8)["backbone.lora"]
    assert lora == str(earlier / "pytorch_lora_weights.safetensors")


def test_the_targets_own_folder_is_read_as_the_target(tmp_path):
    """Its test images are in the same folder as those to learn from."""
    recipe = load_recipe("table-5/comic-dreambooth").replace(**{"test.folder": f"comic2k:{tmp_path}"})
    for given, where in ((tmp_path, f"comic2k:{tmp_path}"), ("other", "other")):
        assert images_of_domain(recipe, Bench(out=tmp_path, scale="full", images={"comic": given})) == where


def test_a_folder_of_an_earlier_version_is_resumed(tmp_path):
    """Its settings are fewer: those that came later had their defaults."""
    file = tmp_path / "adapt.json"
    file.write_text('{"recipe": {"test": {"split": "test"}}}')
    now, defaults = ({"recipe": {"test": {"split": split, "cleaner": "rules"}}} for split in ("test", ""))
    claim(file, now, "an adaptation", defaults)
    now["recipe"]["test"]["cleaner"] = "openai:mine"
    with pytest.raises(ValueError, match="holds an adaptation with other settings"):
        claim(file, now, "an adaptation", defaults)


def test_a_split_of_a_data_set_is_captioned(paintings, tmp_path):
    out = tmp_path / "c.jsonl"
    given = ("caption", f"watercolor2k:{paintings}", "--captioner", "tiny", "--max-tokens", "1", "--out", out)
    assert "name one of its splits train, test" in tadp(*given, code=2)
    tadp(*given, "--split", "train")
    captioned = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert sorted(captioned) == ids(paintings, "train")
    both = (paintings / "JPEGImages", paintings)
    assert "applies to one data set" in tadp("caption", *both, "--split", "train", "--out", out, code=2)


@pytest.mark.slow  # learns a LoRA and trains with it
def test_an_adaptation_by_lora_is_trained_evaluated_and_predicted(tmp_path, monkeypatch):
    short = replace(PRESETS["miniature"]["dreambooth"], steps=1, warmup=0, unet_layers=None)
    monkeypatch.setitem(PRESETS, "miniature", {"dreambooth": short})
    for domain, splits in (("photo", ("train", "val")), ("watercolor", ("train", "test"))):
        for split in splits:
            write_scenes(tmp_path / domain, task="segmentation", domain=domain, split=split, count=3, seed=len(split))
    places = ("--source", tmp_path / "photo", "--target", tmp_path / "watercolor", "--out", tmp_path / "out")
    how = ("--modifier", "dreambooth", "--rank", "2", "--count", "3", "--preset", "miniature")
    short_run = ("--set", "train.steps=1", "--set", "train.batch_size=2")
    assert "watercolor test: mIoU" in tadp("adapt", *places, "--domain", "watercolor", *how, *short_run)
    lora = tmp_path / "out" / "domains" / "watercolor" / "dreambooth-rank2" / "pytorch_lora_weights.safetensors"
    assert load_recipe(tmp_path / "out" / "run" / "config.toml").backbone.lora == str(lora)
    card = json.loads((lora.parent / "personalization.json").read_text())
    assert sorted(card["captions"]) == sorted(
        f"{name}.png" for name in open_data(tmp_path / "watercolor", None, "train").ids
    )
    lora.unlink()  # the run has it merged into its own weights
    run = tmp_path / "out" / "run"
    tadp("eval", run, "--data", tmp_path / "watercolor", "--split", "train", "--domain", "watercolor")
    tadp("predict", run, tmp_path / "watercolor" / "images", "--out", tmp_path / "predicted")


def test_personalize_draws_from_a_split(paintings, tmp_path):
    given = ("--domain", "watercolor", "--images", f"watercolor2k:{paintings}", "--split", "test", "--count", "1")
    given = (*given, "--backbone", "tiny", "--captioner", "none", "--steps", "1", "--out", tmp_path / "out")
    output = tadp("personalize", *given, code=2)
    assert "1 usable images, at least 3 are needed" in output
    assert "--rank 2 goes with --modifier dreambooth" in tadp(
        *("adapt", "--source", paintings, "--target", paintings, "--domain", "watercolor", "--task", "detection"),
        *("--modifier", "simple", "--rank", "2", "--out", tmp_path / "adapted"),
        code=2,
    )
