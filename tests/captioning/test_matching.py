"""Two folders with the same file names, and one folder captioned as a whole: each image has its own caption."""

import json

import pytest
from PIL import Image

from tadp_captioning import CaptionRecord, CaptionStore, caption_images, find_images
from tadp_captioning.matching import captions_of_files, of_other_content


class Mean:
    """A captioner that says the colour of an image."""

    name, params, batch_size = "mean", "", 2

    def caption(self, images):
        return [str(image.getpixel((0, 0))[0]) for image in images]

    prepare = staticmethod(list)
    answer = caption


def folder(root, name, first, count=3):
    files = root / name
    files.mkdir(parents=True)
    for i in range(count):
        Image.new("RGB", (4, 4), (first + i, 0, 0)).save(files / f"frame_{i}.png")
    return files


def expected(files):
    return {f"frame_{i}": str(Image.open(files / f"frame_{i}.png").getpixel((0, 0))[0]) for i in range(3)}


def said(store, files):
    own = captions_of_files(store, find_images(files))
    return {image_id: own[image_id] for image_id in own}


def test_folders_with_the_same_names_keep_both_captions(tmp_path):
    train, val = folder(tmp_path, "d/train", 10), folder(tmp_path, "d/val", 20)
    for _ in range(2):
        for files in (train, val):
            store = CaptionStore.open(tmp_path / "c.jsonl")
            caption_images(Mean(), find_images(files), store)
    assert list(store) == [*(f"frame_{i}" for i in range(3)), *(f"val/frame_{i}" for i in range(3))]
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == 6, "nothing is captioned twice"
    assert said(store, train) == expected(train)
    assert said(store, val) == expected(val)


def test_folders_of_one_name_are_distinguished_by_content(tmp_path):
    folders = [folder(tmp_path, f"{name}/night/images", first) for name, first in (("a", 10), ("b", 20), ("c", 30))]
    store = CaptionStore.open(tmp_path / "c.jsonl")
    for files in folders:
        caption_images(Mean(), find_images(files.parent), store)
    assert [said(store, files) for files in folders] == [expected(files) for files in folders]


def test_an_unreadable_image_does_not_replace_the_caption_of_another(tmp_path):
    train, val = folder(tmp_path, "train", 10), folder(tmp_path, "val", 20)
    (val / "frame_1.png").write_text("no image")
    store = CaptionStore.open(tmp_path / "c.jsonl")
    for files in (train, val):
        caption_images(Mean(), find_images(files), store)
    assert said(store, train) == expected(train)
    assert list(store.failed()) == ["val/frame_1"]


def test_the_captions_of_a_folder_serve_its_subfolders(tmp_path):
    train, val = folder(tmp_path, "d/train", 10), folder(tmp_path, "d/val", 20)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    caption_images(Mean(), find_images(tmp_path / "d"), store)
    assert said(store, train) == expected(train)
    assert said(store, val) == expected(val)


def test_a_changed_image_and_a_moved_folder_keep_their_ids(tmp_path):
    files = folder(tmp_path, "d", 10)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    caption_images(Mean(), find_images(files), store)
    Image.new("RGB", (4, 4), (99, 0, 0)).save(files / "frame_1.png")
    assert caption_images(Mean(), find_images(files), store)[:2] == (1, 2)
    files.rename(tmp_path / "e")
    assert caption_images(Mean(), find_images(tmp_path / "e"), store)[:2] == (0, 3)
    assert list(store) == ["frame_0", "frame_1", "frame_2"]
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[0])["source"] == "d/frame_0.png"


def test_captions_made_from_other_images_are_found(tmp_path):
    train, val = folder(tmp_path, "train", 10), folder(tmp_path, "val", 20)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    caption_images(Mean(), find_images(train), store)
    assert of_other_content(store, find_images(train)) == []
    assert of_other_content(store, find_images(val)) == ["frame_0", "frame_1", "frame_2"]
    without = CaptionStore(CaptionRecord(id=f"frame_{i}", caption="") for i in range(3))
    assert of_other_content(without, find_images(val)) == [], "captions of others say nothing of a content"


@pytest.mark.parametrize(
    ("known", "image_id"),
    [("bathroom/rgb_1", "/bathroom/rgb_1.jpg"), ("sync/bathroom/rgb_1", "/bathroom/rgb_1.jpg"), ("own", "own")],
)
def test_ids_of_the_data_set_and_of_the_captions_may_begin_elsewhere(tmp_path, known, image_id):
    store = CaptionStore([CaptionRecord(id=known, caption="a bath"), CaptionRecord(id="rgb_2", caption="a bed")])
    found = captions_of_files(store, {image_id: tmp_path / "sync" / "bathroom" / "rgb_1.jpg"})
    assert found[image_id] == "a bath"
