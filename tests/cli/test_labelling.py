"""Class names selected per image: read from what users have, used as prompts, proposed and kept."""

import json

import numpy as np
import pytest
from annotation_exports import SIZE, cvat_image, cvat_xml
from invoking import tadp
from official_layouts import picture, text
from PIL import Image

from tadp_captioning import CaptionStore
from tadp_cli.labelling.proposals import Proposals
from tadp_cli.labelling.selected_names import SelectedNames
from tadp_heads.data.scenes.write import write_scenes

CLASSES = ("background", "aeroplane", "low wall")
PROMPTS = ("", "airplane", "low wall")
LOG = """{"id": "sub/a", "names": ["low wall"]}
{"id": "b", "names": []}
{"id": "sub/a", "names": ["airplane", "low wall"]}
{"id"""


def read(path):
    return SelectedNames.read(path, CLASSES, PROMPTS)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("names.csv", "image,names\nsub/a.jpg,low_wall;Aeroplane\n\nb.png,\n"),
        ("names.csv", "\ufeffsub\\a.jpg,airplane\r\nsub\\a.jpg,low wall\r\nb.png\r\n"),
        ("names.tsv", "sub/a\taeroplane\tlow wall\nb\t\n"),
        ("log.jsonl", LOG),
    ],
)
def test_tables_and_logs(tmp_path, name, content):
    text(tmp_path / name, content)
    names = read(tmp_path / name)
    assert names.of("sub/a", tmp_path / "x" / "sub" / "a.jpg") == ("airplane", "low wall")
    assert names.of("a", tmp_path / "a.jpg") == ("airplane", "low wall"), "the only one of that file name"
    assert names.of("b", tmp_path / "b.png") == ()
    assert names.of("c", tmp_path / "c.png") is None


def test_folders_and_tags_of_tools(tmp_path):
    for folder in ("low wall", "aeroplane"):
        picture(tmp_path / "tree" / folder / "a.png")
    picture(tmp_path / "tree" / "airplane" / "b.png")
    names = read(tmp_path / "tree")
    assert names.of("a", tmp_path / "a.png") == ("airplane", "low wall")
    assert names.of("b", tmp_path / "b.png") == ("airplane",)
    picture(tmp_path / "cvat" / "images" / "a.png", SIZE)
    tags = '<tag label="low wall"/>'
    text(tmp_path / "cvat" / "annotations.xml", cvat_xml(cvat_image("a.png", tags), CLASSES))
    assert read(tmp_path / "cvat").of("a", tmp_path / "a.png") == ("low wall",)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("n.csv", "a.jpg,cat\n", "n.csv, line 1: 'cat' is no class of the model: background"),
        ("n.jsonl", '{"id": "a", "names": "cat"}\n', "n.jsonl, line 1: no list of names for 'a'"),
        ("n.jsonl", '{"id": "a", "names": [3]}\n', "n.jsonl, line 1: 3 is no class"),
        ("no.csv", None, "no.csv: no file or folder of selected names"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path, name, content, message):
    if content is not None:
        text(tmp_path / name, content)
    with pytest.raises(ValueError, match=r"is no class|no list|no file") as raised:
        read(tmp_path / name)
    assert message in str(raised.value)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run of one step on three scenes, conditioned on the names of the classes present, and the scenes."""
    root = tmp_path_factory.mktemp("names")
    write_scenes(root / "data", task="segmentation", domain="photo", split="train", count=3, seed=0)
    settings = ("train.steps=1", "train.batch_size=1", "train.flip=false", "data.val=train", "prompt.kind=oracle")
    options = [f"--set={setting}" for setting in settings]
    tadp("train", "scenes-segmentation", "--data", root / "data", "--out", root / "run", *options)
    return root


def test_each_image_is_predicted_with_its_own_names(world, tmp_path):
    rows = "train_00000.png,star;tree\ntrain_00001.png,ring\n"
    text(tmp_path / "names.csv", rows)
    out = tmp_path / "out"
    command = ("predict", world / "run", world / "data" / "images", "--out", out, "--names", tmp_path / "names.csv")
    said = tadp(*command, code=1)
    assert "2 predicted, 1 failed" in said
    assert "train_00002.png: it is not in" in said
    store = CaptionStore.read(out / "captions.jsonl")
    assert store.get("train_00000").extra["prompt"] in ("star tree", "tree star")
    assert store.get("train_00001").extra["names"] == ["ring"]
    masks = {path.name: path.read_bytes() for path in out.glob("*_mask.png")}
    text(tmp_path / "names.csv", rows.replace("ring", "ring;star") + "train_00002.png,\n")
    assert "2 predicted, 0 failed, 1 were there already" in tadp(*command)
    assert set(CaptionStore.read(out / "captions.jsonl").get("train_00001").extra["names"]) == {"ring", "star"}
    assert (out / "train_00000_mask.png").read_bytes() == masks["train_00000_mask.png"]


def test_a_caption_file_gives_each_image_its_text(world, tmp_path):
    captions = tmp_path / "captions.jsonl"
    lines = [json.dumps({"id": f"train_{n:05}", "caption": f"scene {n}"}) for n in range(3)]
    text(captions, "\n".join(lines) + "\n")
    command = ("predict", world / "run", world / "data" / "images", "--out", tmp_path / "out", "--captions", captions)
    assert "3 predicted" in tadp(*command)
    assert CaptionStore.read(tmp_path / "out" / "captions.jsonl").get("train_00002").caption == "scene 2"
    assert "--caption and --captions each give" in tadp(*command, "--caption", "x", code=2)


def test_names_are_proposed_drawn_and_kept(world, tmp_path):
    log = tmp_path / "log.jsonl"
    proposals = Proposals.of_run(world / "run", log)
    with Image.open(world / "data" / "images" / "train_00000.png") as file:
        image = file.convert("RGB")
    found = proposals.propose("train_00000", image)
    assert {one.name for one in found} == set(proposals.names)
    assert all(0 <= one.probability <= 1 for one in found)
    assert [one.probability for one in found] == sorted((one.probability for one in found), reverse=True)
    encoded = proposals.latents.get("train_00000", image)
    result = proposals.draw("train_00000", image, ["tree", "star"])
    assert proposals.latents.get("train_00000", image) is encoded, "encoded once"
    with_text = proposals.model.predict_batch([image], None, 1, proposals._context(image, ["tree", "star"]))[0]
    np.testing.assert_array_equal(result.ids, with_text.ids)
    proposals.decide("train_00000", ["tree"])
    proposals.decide("train_00000", ["star", "tree"])
    with log.open("a") as file:
        file.write('{"id": "torn')
    again = Proposals.of_run(world / "run", log)
    assert set(again.decisions["train_00000"]) == {"star", "tree"}
    again.decide("b", [])
    assert len(log.read_text().splitlines()) == 3
    with pytest.raises(ValueError, match="'cat' is no class of the model"):
        again.decide("b", ["cat"])
    assert SelectedNames.read(log, again.model.config.classes, again.prompter.names).of("b", tmp_path / "b.png") == ()


@pytest.mark.parametrize("by", ["text", "entropy", "random"])
def test_the_next_images_are_written_in_order(world, tmp_path, by):
    images = world / "data" / "images"
    command = ("label-next", world / "run", images, "--by", by, "--budget", "2", "--size", "64")
    assert "2 images" in tadp(*command, "--out", tmp_path / "next.txt")
    chosen = (tmp_path / "next.txt").read_text().splitlines()
    assert len(set(chosen)) == 2
    tadp(*command, "--out", tmp_path / "next.csv", "--labelled", chosen[0])
    rows = (tmp_path / "next.csv").read_text().splitlines()
    assert rows[0] == "image,rank,uncertainty"
    others = sorted(str(path) for path in images.iterdir() if str(path) != chosen[0])
    assert sorted(row.split(",")[0] for row in rows[1:]) == others
