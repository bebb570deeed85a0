"""The commands from end to end, at toy size, through files on disk; and what they say to bad input."""

import json

import pytest
from invoking import tadp
from PIL import Image
from typer.testing import CliRunner

from tadp_cli.main import app
from tadp_heads.data.scenes.write import write_scenes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Photos with two splits, watercolors with one."""
    root = tmp_path_factory.mktemp("world")
    for split, count in (("train", 6), ("val", 3)):
        write_scenes(root / "photo", task="segmentation", domain="photo", split=split, count=count, seed=0)
    write_scenes(root / "watercolor", task="segmentation", domain="watercolor", split="test", count=3, seed=1)
    return root


@pytest.fixture(scope="module")
def run(world):
    """Hardly trained; prompted with captions."""
    short = ("--set", "train.steps=1", "--set", "train.batch_size=2", "--set", "head.width=8")
    tadp("train", "scenes-segmentation", "--data", world / "photo", "--out", world / "run", *short)
    return world / "run"


@pytest.mark.slow
def test_caption_clean_personalize_train_eval(world, tmp_path):
    """The workflow of paper 4.3 with the commands a user types."""
    photos, watercolors = tmp_path / "photo.jsonl", tmp_path / "watercolor.jsonl"
    assert "9 captioned" in tadp("caption", world / "photo", "--captioner", "tiny", "--out", photos)
    assert "9 were there already" in tadp("caption", world / "photo", "--captioner", "tiny", "--out", photos)
    tadp("caption", world / "watercolor", "--captioner", "tiny", "--out", watercolors)
    clean = tmp_path / "clean.jsonl"
    assert "of 3 captions changed" in tadp("captions", "clean", watercolors, "--domain", "watercolor", "--out", clean)
    counted = tadp("captions", "stats", clean, "--data", world / "watercolor", "--split", "test")
    assert "3 captions" in counted
    assert "class precision" in counted
    records = [json.loads(line) for line in clean.read_text().splitlines()]
    assert not any("watercolor" in record["caption"] for record in records)

    token = tmp_path / "token"
    tadp("personalize", "--domain", "watercolor", "--count", "4", "--steps", "2", "--out", token)
    learned = json.loads((token / "results.json").read_text())
    assert (token / "learned_embeds.safetensors").is_file()
    assert learned

    run = tmp_path / "run"
    settings = ("train.steps=3", "train.batch_size=2", "prompt.modifier=textual-inversion", "prompt.domain=watercolor")
    options = [
        option
        for setting in (*settings, f"prompt.token_file={token / 'learned_embeds.safetensors'}")
        for option in ("--set", setting)
    ]
    tadp("train", "scenes-segmentation", "--data", world / "photo", "--captions", photos, "--out", run, *options)
    target = ("--data", world / "watercolor", "--split", "test", "--captions", clean)
    assert "mIoU" in tadp("eval", run, *target)
    evaluations = json.loads((run / "results.json").read_text())["evaluations"]
    assert [entry["split"] for entry in evaluations] == ["val", "test"]
    assert all(0 <= entry["metrics"]["mIoU"] <= 1 for entry in evaluations)
    table = tadp("report", run)
    for output in ("photo/val", "watercolor/test", f"{100 * evaluations[1]['metrics']['mIoU']:.1f}"):
        assert output in table


def test_oracle_captions_reach_the_recall_asked_for_and_nouns_are_kept(world, tmp_path):
    half, names = tmp_path / "half.jsonl", tmp_path / "nouns.jsonl"
    said = tadp("captions", "oracle", world / "photo", "--recall", "0.5", "--out", half)
    assert "9 captions, precision 1.000" in said
    whole = tadp("captions", "oracle", world / "photo", "--out", tmp_path / "whole.jsonl")
    assert "recall 1.000" in whole
    (tmp_path / "one.jsonl").write_text('{"id": "a", "caption": "a red circle and a tree", "captioner": "x"}\n')
    tadp("captions", "nouns", tmp_path / "one.jsonl", "--out", names)
    assert json.loads(names.read_text())["caption"].endswith("circle tree")


def test_eval_captions_and_cleans_what_has_no_captions(world, run):
    tadp("eval", run, "--data", world / "watercolor", "--split", "test", "--domain", "watercolor")
    written = (run / "captions" / "watercolor_test.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in written] == ["test_00000", "test_00001", "test_00002"]


def test_predict_writes_an_overlay_a_mask_and_the_caption_of_each_image(world, run, tmp_path):
    out = tmp_path / "out"
    folder = world / "photo" / "images"
    files = sorted(folder.iterdir())[:2]
    assert "2 predicted, 0 failed" in tadp("predict", run, *files, "--out", out)
    for file in files:
        with Image.open(out / f"{file.stem}_mask.png") as mask, Image.open(out / f"{file.stem}_overlay.png") as overlay:
            assert mask.size == overlay.size == (64, 64)
            assert max(mask.get_flattened_data()) <= 12
    captions = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert [entry["id"] for entry in captions] == [file.stem for file in files]
    assert all(entry["caption"] for entry in captions)
    (tmp_path / "broken.png").write_bytes(b"no picture")
    said = tadp(
        "predict", run, tmp_path / "broken.png", files[0], "--caption", "a ring", "--out", tmp_path / "o", code=1
    )
    assert "broken.png" in said
    assert "1 predicted, 1 failed" in said


@pytest.mark.slow
def test_a_run_is_not_written_over_and_an_evaluation_is_listed_once(world, tmp_path):
    run, token = tmp_path / "run", tmp_path / "token"
    short = ("--set", "train.steps=1", "--set", "prompt.kind=empty")
    tadp("train", "scenes-segmentation", "--data", world / "photo", "--out", run, *short)
    tadp("eval", run)
    tadp("eval", run, "--data", world / "watercolor", "--split", "test")
    tadp("eval", run, "--data", world / "watercolor", "--split", "test")
    splits = [entry["split"] for entry in json.loads((run / "results.json").read_text())["evaluations"]]
    assert splits == ["val", "test"]

    learn = ("personalize", "--domain", "comic", "--steps", "1", "--count", "3", "--out", token)
    assert "holds no run to resume" in tadp(*learn, "--resume", code=2)
    assert not token.exists()
    tadp(*learn)
    assert "holds a run already; add --resume" in tadp(*learn, code=2)


def test_help_shows_an_example_for_each_command():
    for command in ("demo", "caption", "personalize", "train", "eval", "reproduce"):
        assert f"tadp {command}" in tadp(command, "--help")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("caption", "{tmp}/nothing", "--captioner", "tiny", "--out", "{tmp}/c.jsonl"), "no images in"),
        (("caption", "{world}/photo", "--captioner", "blop", "--out", "{tmp}/c.jsonl"), "blop"),
        (("captions", "clean", "{tmp}/no.jsonl", "--domain", "night", "--out", "{tmp}/c.jsonl"), "no.jsonl"),
        (("personalize", "--domain", "mud", "--out", "{tmp}/t"), "unknown domain 'mud'; choose from watercolor"),
        (("personalize", "--domain", "foggy", "--out", "{tmp}/t"), "name a folder with --images"),
        (("personalize", "--domain", "comic", "--method", "magic", "--out", "{tmp}/t"), "unknown method 'magic'"),
        (("train", "segmentation", "--out", "{tmp}/r"), "no data set: name its folder with --data"),
        (("train", "scenes-segmentation", "--data", "{tmp}/no", "--out", "{tmp}/r"), "no"),
        (("train", "nothing", "--data", "{world}/photo", "--out", "{tmp}/r"), "unknown recipe 'nothing'"),
        (("eval", "{tmp}/no"), "is no run"),
        (("reproduce", "figure-4", "--backbone", "{tmp}/no"), "no"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_half_written(world, tmp_path, arguments, message, capfd):
    filled = [argument.format(tmp=tmp_path, world=world) for argument in arguments]
    result = CliRunner().invoke(app, filled)
    said = result.output.strip()
    assert result.exit_code == 2
    assert message in " ".join(said.split())
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert not any(tmp_path.iterdir())


def test_an_unreadable_image_is_named_and_the_others_are_captioned(tmp_path):
    Image.new("RGB", (64, 64), "red").save(tmp_path / "good.png")
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    out = tmp_path / "out" / "captions.jsonl"
    said = tadp("caption", tmp_path, "--captioner", "tiny", "--out", out, code=1)
    assert "failed: bad" in said
    assert "1 captioned" in said
