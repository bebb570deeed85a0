"""Parts of the images captioned by workers without a file, the captions kept by one process."""

import json

import pytest
from PIL import Image

from tadp_captioning import CaptionStore, caption_images, find_images, load_captioner
from tadp_captioning.parallel.caption_parts import PartCaptioner, add_part, image_jobs


@pytest.fixture
def captioner(blip2_folder):
    return load_captioner(blip2_folder, device="cpu", max_new_tokens=6, batch_size=2)


def by_parts(captioner, images, store, redo=()):
    """The new records, of parts that arrive the last first."""
    jobs = list(image_jobs(images, store, redo))
    results = [PartCaptioner(captioner)(jobs[start : start + 2]) for start in range(0, len(jobs), 2)]
    return [record for part in reversed(results) for record in add_part(store, images, part, redo)]


def test_parts_give_the_records_of_one_process(captioner, image_folder, tmp_path):
    images = find_images(image_folder)
    images["picture_3"].write_text("not a picture")
    one, parts = CaptionStore.open(tmp_path / "one.jsonl"), CaptionStore.open(tmp_path / "parts.jsonl")
    caption_images(captioner, images, one)
    by_parts(captioner, images, parts)
    assert sorted(parts) == sorted(one)
    for record in one.records():
        other = parts.get(record.id)
        assert (other.source, other.params, other.captioner, other.extra) == (
            record.source,
            record.params,
            record.captioner,
            record.extra,
        )
    assert parts.failed() == one.failed()


def test_what_is_there_already_is_not_done_again(captioner, image_folder, tmp_path):
    images = find_images(image_folder)
    images["picture_3"].write_text("not a picture")
    by_parts(captioner, images, CaptionStore.open(tmp_path / "c.jsonl"))
    store = CaptionStore.open(tmp_path / "c.jsonl")
    assert [record.id for record in by_parts(captioner, images, store)] == ["picture_3"], "a failed one is tried again"
    Image.new("RGB", (20, 20), "green").save(images["picture_3"])
    Image.new("RGB", (20, 20), "blue").save(images["picture_1"])
    assert {record.id for record in by_parts(captioner, images, store)} == {"picture_1", "picture_3"}
    assert [record.id for record in by_parts(captioner, images, store, redo=["picture_0"])] == ["picture_0"]
    captioner.params = "min=3_max=6"
    assert len(by_parts(captioner, images, store)) == len(images)


def test_images_of_one_name_in_two_folders_are_kept_apart(captioner, image_folder, tmp_path):
    images = find_images(image_folder)
    other = tmp_path / "other" / "picture_0.png"
    other.parent.mkdir()
    Image.new("RGB", (24, 24), "purple").save(other)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    by_parts(captioner, images, store)
    (longer,) = by_parts(captioner, {"picture_0": other}, store)
    assert longer.id != "picture_0"
    assert by_parts(captioner, {"picture_0": other}, store) == [], "not added once more"
    assert len((tmp_path / "c.jsonl").read_text().splitlines()) == len(images) + 1
    assert json.loads((tmp_path / "c.jsonl").read_text().splitlines()[-1])["source"] == "other/picture_0.png"
