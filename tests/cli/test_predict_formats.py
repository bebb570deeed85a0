"""`tadp predict --format`: what annotation tools open."""

import json

import numpy as np
import pytest
from invoking import tadp
from PIL import Image

from tadp_heads.data.annotations.rasterize import fill_ring
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.video.files import VideoFile


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A run of one step on two scenes, and the scenes."""
    root = tmp_path_factory.mktemp("formats")
    write_scenes(root / "data", task="segmentation", domain="photo", split="train", count=2, seed=0)
    settings = ("train.steps=1", "train.batch_size=1", "train.flip=false", "data.val=train")
    options = [f"--set={setting}" for setting in settings]
    captions = root / "data" / "captions_true_train.jsonl"
    tadp(
        "train", "scenes-segmentation", "--data", root / "data", "--captions", captions, "--out", root / "run", *options
    )
    return root


def predict(world, out, *options, code=0):
    return tadp(
        "predict", world / "run", world / "data" / "images", "--out", out, "--caption", "a", *options, code=code
    )


def test_polygons_are_the_masks_and_one_coco_file_holds_all_images(world, tmp_path):
    predict(world, tmp_path / "png", "--confidence")
    names = [row["name"] for row in json.loads((tmp_path / "png" / "classes.json").read_text())]
    said = predict(world, tmp_path / "coco", "--format", "coco")
    assert "2 predicted" in said
    content = json.loads((tmp_path / "coco" / "annotations.json").read_text())
    assert [one["id"] for one in content["images"]] == [1, 2]
    assert all(0 < one["score"] <= 1 for one in content["annotations"])
    assert "2 were there already" in predict(world, tmp_path / "coco", "--format", "coco")
    assert json.loads((tmp_path / "coco" / "annotations.json").read_text()) == content
    ids = {one["file_name"]: one["id"] for one in content["images"]}
    for image in (world / "data" / "images").iterdir():
        with Image.open(tmp_path / "png" / f"{image.stem}_mask.png") as file:
            mask = np.array(names)[np.array(file)]
        with Image.open(tmp_path / "png" / f"{image.stem}_confidence.png") as file:
            assert file.mode == "L"
            assert np.array(file).min() >= 255 // len(names) - 1
        found = [one for one in content["annotations"] if one["image_id"] == ids[image.name]]
        assert {names[one["category_id"] - 1] for one in found} == set(np.unique(mask)) - {"background"}


def test_voc_writes_masks_that_are_read_as_they_are(world, tmp_path):
    predict(world, tmp_path / "voc", "--format", "voc")
    (tmp_path / "voc" / "JPEGImages").mkdir()
    for image in (world / "data" / "images").iterdir():
        (tmp_path / "voc" / "JPEGImages" / image.name).write_bytes(image.read_bytes())
    predict(world, tmp_path / "png")
    dataset = open_folder(tmp_path / "voc", "segmentation")
    for sample in dataset:
        with Image.open(tmp_path / "png" / f"{sample.id}_mask.png") as file:
            np.testing.assert_array_equal(sample.target, np.array(file))


def test_wrong_options_are_one_line(world, tmp_path):
    out = tmp_path / "out"
    assert "unknown format 'kitti'; choose from png, labelme" in predict(world, out, "--format", "kitti", code=2)
    assert "--tolerance is -1.0" in predict(world, out, "--tolerance", "-1", code=2)
    assert "--min-score is 7.0" in predict(world, out, "--min-score", "7", code=2)
    predict(world, out, "--format", "yolo")
    assert "format was 'yolo', is now 'coco'" in predict(world, out, "--format", "coco", code=2)


def test_a_large_image_is_predicted_in_windows(world, tmp_path):
    with Image.open(next((world / "data" / "images").iterdir())) as file:
        file.convert("RGB").resize((200, 150)).save(tmp_path / "large.png")
    command = ("predict", world / "run", tmp_path / "large.png", "--caption", "a")
    tadp(*command, "--out", tmp_path / "whole")
    with Image.open(tmp_path / "whole" / "large_mask.png") as file:
        whole = np.array(file)
    tadp(*command, "--out", tmp_path / "one", "--tile", "256")
    output = tadp(*command, "--out", tmp_path / "many", "--tile", "64", "--mask-file", "tiff", "--confidence")
    assert "windows of large.png: 12 done" in output
    for out, suffix, equal in (("one", "png", 0.95), ("many", "tiff", 0.5)):
        with Image.open(tmp_path / out / f"large_mask.{suffix}") as file:
            assert file.size == (200, 150)
            assert (np.array(file) == whole).mean() > equal
        masks = np.array(file)
    with Image.open(tmp_path / "many" / "large_confidence.tiff") as file:
        assert file.size == (200, 150)
    tadp(*command, "--out", tmp_path / "objects", "--tile", "64", "--format", "voc")
    with Image.open(tmp_path / "objects" / "SegmentationClass" / "large.png") as file:
        np.testing.assert_array_equal(np.array(file), masks)
    drawn = np.zeros((150, 200), np.uint8)
    names = [row["name"] for row in json.loads((tmp_path / "many" / "classes.json").read_text())]
    for line in (tmp_path / "objects" / "objects.jsonl").read_text().splitlines():
        for one in json.loads(line)["objects"]:
            drawn[fill_ring(np.array(one["ring"]), 150, 200)] = names.index(one["label"])
    np.testing.assert_array_equal(drawn, masks)
    assert "1 were there already" in tadp(*command, "--out", tmp_path / "one", "--tile", "256")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tile", "100"), "windows of 100 pixels: expected a multiple of 16"),
        (("--tile", "128", "--overlap", "100"), "an overlap of 100 pixels: expected at most half"),
        (("--overlap", "16"), "add --tile 512"),
        (("--tile", "128", "--mask-file", "gif"), "mask files of the kind 'gif': expected png or tiff"),
        (("--tile", "128", "--size", "100"), "leave --size or --tile out"),
        (("--tile", "128", "--tile-captions"), "leave --caption, --captions and --names out"),
    ],
)
def test_wrong_windows_are_one_line(world, tmp_path, options, message):
    assert message in predict(world, tmp_path / "out", *options, code=2)


def test_a_video_is_predicted_frame_by_frame(world, tmp_path):
    pytest.importorskip("av")
    with VideoFile(tmp_path / "clip.mp4", (64, 48), 10) as video:
        for colour in ("red",) * 6 + ("blue",) * 2:
            video.add(Image.new("RGB", (64, 48), colour))
    command = ("predict", world / "run", tmp_path / "clip.mp4", "--out", tmp_path / "out", "--caption", "a")
    said = tadp(*command)
    assert "8 frames, 2 shots, captioned per shot, mIoU of consecutive masks" in said
    folder = tmp_path / "out" / "clip"
    assert len(list(folder.glob("*_mask.png"))) == len(list(folder.glob("*_overlay.png"))) == 8
    assert {"overlay.mp4", "frames.csv", "legend.png", "classes.json", "settings.json"} <= {
        path.name for path in folder.iterdir()
    }
    assert said[said.index("8 frames") :] in tadp(*command), "nothing is predicted again"
    assert "caption_per was 'shot', is now 'frame'" in tadp(*command, "--caption-per", "frame", code=2)
    assert "is a video: leave --tile out" in tadp(*command, "--tile", "64", code=2)
    assert "--format coco is for images alone" in tadp(*command, "--format", "coco", code=2)
