"""Captions and folders of images from anywhere."""

import csv
import json
import os

import pytest
from PIL import Image

from tadp_captioning import CaptionRecord, CaptionStore, find_images


def test_half_a_surrogate_pair_is_no_text(tmp_path):
    """JSON can hold one; UTF-8 cannot, and tokenizers refuse it."""
    (tmp_path / "c.jsonl").write_text('{"id": "a", "caption": "a \\ud83d dog \\ud83d\\udc15"}\n')
    (tmp_path / "p.json").write_text('{"a": {"captions": ["a \\udc15 dog"]}}')
    assert CaptionStore.read(tmp_path / "c.jsonl")["a"] == "a \ufffd dog \U0001f415"
    assert CaptionStore.read(tmp_path / "p.json")["a"] == "a \ufffd dog"
    for suffix in (".jsonl", ".json", ".csv", ".tsv", ".parquet"):
        CaptionStore.read(tmp_path / "c.jsonl").write(tmp_path / f"o{suffix}")
        assert CaptionStore.read(tmp_path / f"o{suffix}")["a"] == "a \ufffd dog \U0001f415"


@pytest.mark.parametrize("column", ["caption", "image"])
def test_a_field_of_a_table_may_be_of_any_length(tmp_path, column):
    limit = csv.field_size_limit(131072)
    row = {"id": "a", "caption": "a dog", "image": "x"} | {column: "y" * 300_000}
    (tmp_path / "c.csv").write_text("id,caption,image\n" + ",".join(row.values()) + "\n")
    assert CaptionStore.read(tmp_path / "c.csv")["a"] == row["caption"]
    csv.field_size_limit(limit)


@pytest.mark.parametrize("content", [b"PAR1", b"", b"PAR1" + bytes(100) + b"PAR1", b"id,caption\na,b\n"])
def test_what_is_no_parquet_is_named(tmp_path, content):
    (tmp_path / "c.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"c\.parquet: not a complete parquet file: [^\n]+$"):
        CaptionStore.read(tmp_path / "c.parquet")


@pytest.mark.parametrize(
    "row",
    [{"id": 1, "caption": "a"}, {"id": "a", "caption": None}, {"id": "a", "caption": "a", "source": {"b": 1}}, []],
)
def test_fields_of_wrong_types_are_named_with_their_line(tmp_path, row):
    (tmp_path / "c.jsonl").write_text(json.dumps(row) + "\n")
    with pytest.raises(ValueError, match=r"c\.jsonl, line 1: expected"):
        CaptionStore.read(tmp_path / "c.jsonl")


@pytest.mark.parametrize("image_id", ["../b", "a/../../b", "linked/b"])
def test_no_caption_is_written_outside_of_the_folder(tmp_path, image_id):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "linked").symlink_to(tmp_path)
    with pytest.raises(ValueError, match="leads out of the folder"):
        CaptionStore([CaptionRecord(id=image_id, caption="a dog")]).write(tmp_path / "out")
    assert not (tmp_path / "b.txt").exists()


def test_links_out_of_a_folder_of_images_are_left_out_unless_allowed(tmp_path, monkeypatch, caplog):
    (tmp_path / "images").mkdir()
    for name in ("secret.png", "images/a.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    (tmp_path / "images" / "b.png").symlink_to(tmp_path / "secret.png")
    (tmp_path / "images" / "c.png").symlink_to("a.png")
    assert list(find_images(tmp_path / "images")) == ["a", "c"]
    assert "b.png (a link out of the folder; TADP_READ_OUTSIDE=1 allows it)" in caplog.text
    os.symlink(tmp_path / "images", tmp_path / "link")
    assert list(find_images(tmp_path / "link")) == ["a", "c"]
    (tmp_path / "data").mkdir()
    os.symlink(tmp_path / "images", tmp_path / "data" / "images")
    with pytest.raises(ValueError, match=r"data/images: a link out of"):
        find_images(tmp_path / "data")
    monkeypatch.setenv("TADP_READ_OUTSIDE", "1")
    assert list(find_images(tmp_path / "images")) == ["a", "b", "c"]
    assert list(find_images(tmp_path / "data")) == ["a", "b", "c"]
