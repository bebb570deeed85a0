"""Domains that are in no table: named in words, from the learned token to the prompt of a prediction."""

import json

import pytest
from invoking import tadp

from tadp_heads.data.scenes.write import write_scenes

DUSK = ("--domain", "dusk", "--domain-phrase", "dusk photo")


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for domain, split in (("photo", "train"), ("photo", "val"), ("night", "train"), ("night", "test")):
        write_scenes(root / domain, task="segmentation", domain=domain, split=split, count=3, seed=len(split), size=32)
    return root


def test_a_domain_in_words_from_captions_to_predictions(repository, world, tmp_path):
    """The workflow of the README: caption, personalize, train, eval, predict."""
    backbone = repository / "tests/data/first_layout/backbone"
    token, captions = tmp_path / "token", tmp_path / "captions.jsonl"
    assert "6 captioned" in tadp("caption", world / "photo", "--min-tokens", 4, "--out", captions)
    learn = ("personalize", *DUSK, "--init-word", "red", "--backbone", backbone, "--captioner", "none", "--steps", 1)
    assert "<dusk>" in tadp(*learn, "--images", world / "night" / "images", "--out", token)
    assert json.loads((token / "personalization.json").read_text())["initial_word"] == "red"
    small = (f"backbone.source={backbone}", "head.variant=ade", "head.width=4", "train.steps=1", "train.batch_size=1")
    given = ("prompt.modifier=textual-inversion", f"prompt.token_file={token / 'learned_embeds.safetensors'}")
    run, settings = tmp_path / "run", [f"--set={setting}" for setting in (*small, *given)]
    source = ("--data", world / "photo", "--captions", captions)
    tadp("train", "scenes-segmentation", *source, *DUSK, "--out", run, *settings)
    assert "mIoU" in tadp("eval", run, "--data", world / "night", "--split", "test")
    written = [json.loads(line) for line in (run / "captions" / "night_test.jsonl").read_text().splitlines()]
    assert {(line["captioner"], line["params"]) for line in written} == {("tiny", "min=4_max=77")}
    image = world / "night" / "images" / "test_00000.png"
    tadp("predict", run, image, "--out", tmp_path / "out")
    assert json.loads((tmp_path / "out" / "captions.jsonl").read_text())["prompt"].startswith("a <dusk> photo of ")


def test_captions_by_two_captioners_are_one_line(world, tmp_path):
    lines = [{"id": "train_00000", "caption": "a tree", "captioner": name} for name in ("tiny", "blip2")]
    lines[1]["id"] = "train_00001"
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = ("--data", world / "photo", "--captions", tmp_path / "c.jsonl", "--out", tmp_path / "out")
    output = tadp("train", "scenes-segmentation", *given, code=2)
    assert "has captions by several captioners, tiny (1), blip2 (1): choose one with --set data.captioner=" in output
    assert output.count("error:") == 1
    assert not (tmp_path / "out").exists()


def test_an_unknown_domain_without_a_phrase_is_one_line(world, tmp_path):
    places = ("--source", world / "photo", "--target", world / "night", "--out", tmp_path / "out")
    assert "unknown domain 'dusk'; choose from watercolor" in tadp("adapt", *places, "--domain", "dusk", code=2)
    phrase = ("--set", "prompt.domain_phrase=dusk photo")
    output = tadp("train", "scenes-segmentation", "--data", world / "photo", *phrase, "--out", tmp_path / "out", code=2)
    assert "prompt.domain_phrase 'dusk photo' needs prompt.domain: set it too" in output
