"""Images inside tar archives and parquet tables, captioned behind a server that answers many requests at once."""

import json

import pytest
from crowd import Crowd
from packed import image_bytes, shard

from tadp_captioning import CaptionStore, caption_images, load_captioner
from tadp_captioning.archives.images import is_packed, packed_images

AT_ONCE = 64


@pytest.fixture
def crowd():
    server = Crowd()
    yield server
    server.close()


def test_a_tar_is_captioned_stopped_and_resumed_with_none_twice_and_none_lost(crowd, tmp_path):
    """The first run ends in the middle: the server refuses the key. 64 requests are under way at a time, no more."""
    shards = [
        str(shard(tmp_path / f"{name}.tar", numbers)) for name, numbers in (("a", range(150)), ("b", range(150, 260)))
    ]
    images = packed_images([str(tmp_path / "*.tar")])
    assert next(iter(images)) == "part/000000"
    assert len(images) == 260
    store = CaptionStore.open(tmp_path / "captions.jsonl")
    captioner = load_captioner("openai:toy", base_url=crowd.base_url, batch_size=AT_ONCE)
    crowd.limit = 150
    with pytest.raises(ValueError, match="401"):
        caption_images(captioner, images, store)
    done = len(store)
    assert 0 < done < 260
    crowd.limit = None
    again = CaptionStore.open(tmp_path / "captions.jsonl")
    report = caption_images(captioner, packed_images(shards), again)
    assert (report.captioned, report.skipped, report.failed) == (260 - done, done, {})
    lines = [json.loads(line)["id"] for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(images)
    assert 8 < crowd.most <= AT_ONCE


def test_a_parquet_table_of_images_is_read_and_captions_are_written_as_one(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = [{"id": f"n{number}.png", "image": {"bytes": image_bytes(number), "path": None}} for number in range(5)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "images.parquet", row_group_size=2)
    images = packed_images([str(tmp_path / "images.parquet")])
    assert list(images) == ["n0", "n1", "n2", "n3", "n4"]
    assert images["n3"].read_bytes() == image_bytes(3)
    pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"jpg": image_bytes(1)}, {"jpg": None}]), tmp_path / "bare.parquet"
    )
    bare = packed_images([str(tmp_path / "bare.parquet")])
    assert list(bare) == ["bare_00000000", "bare_00000001"]
    with pytest.raises(ValueError, match="no bytes"):
        bare["bare_00000001"].read_bytes()


def test_what_cannot_be_read_is_reported(tmp_path):
    with pytest.raises(ValueError, match=r"unpack it to a plain \.tar"):
        is_packed(["a.tar.gz"])
    with pytest.raises(ValueError, match="name archives and tables alone"):
        is_packed(["a.tar", "photos/"])
    assert not is_packed(["photos/"])
    (tmp_path / "broken.tar").write_text("no archive at all" * 99)
    with pytest.raises(ValueError, match="not a complete tar archive"):
        packed_images([str(tmp_path / "broken.tar")])
    with pytest.raises(ValueError, match="no such archive"):
        packed_images([str(tmp_path / "none.tar")])
    shard(tmp_path / "one.tar", range(2))
    shard(tmp_path / "two.tar", range(2))
    assert list(packed_images([str(tmp_path / "one.tar"), str(tmp_path / "two.tar")]))[:1] == ["one/part/000000"]
