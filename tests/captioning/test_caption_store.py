import json
import logging
import multiprocessing
import resource
import sys
import time

import pytest

from tadp_captioning import CaptionRecord, CaptionStore


def record(i: int, **more) -> CaptionRecord:
    return CaptionRecord(
        id=f"image_{i}", caption=f"a dog and {i} cats, «é»", captioner="tiny", params="min=0_max=77", **more
    )


def test_what_is_added_is_there_after_reopening(tmp_path):
    store = CaptionStore.open(tmp_path / "new" / "captions.jsonl")
    store.add(record(0), record(1, extra={"class_label": 3}))
    store.add(record(2))
    again = CaptionStore.open(tmp_path / "new" / "captions.jsonl")
    assert list(again.records()) == list(store.records())
    assert list(again) == ["image_0", "image_1", "image_2"]
    assert again["image_1"] == "a dog and 1 cats, «é»"


def test_lines_have_the_documented_fields(tmp_path):
    CaptionStore.open(tmp_path / "c.jsonl").add(record(0, source="image_0.png"))
    (line,) = (tmp_path / "c.jsonl").read_text().splitlines()
    assert json.loads(line) == {
        "id": "image_0",
        "caption": "a dog and 0 cats, «é»",
        "captioner": "tiny",
        "params": "min=0_max=77",
        "source": "image_0.png",
        "tadp_format": 1,
    }


def test_of_two_lines_for_an_image_the_last_counts(tmp_path):
    store = CaptionStore.open(tmp_path / "c.jsonl")
    store.add(record(0), record(1))
    store.add(CaptionRecord(id="image_0", caption="better"))
    assert CaptionStore.read(tmp_path / "c.jsonl")["image_0"] == "better"
    assert len(CaptionStore.read(tmp_path / "c.jsonl")) == 2


@pytest.mark.parametrize("cut", [1, 2, 30, 63])
def test_a_file_cut_at_any_byte_loses_one_line_and_continues(tmp_path, cut, caplog):
    path = tmp_path / "c.jsonl"
    CaptionStore.open(path).add(record(0), record(1))
    content = path.read_bytes()
    path.write_bytes(content[:-cut])
    with caplog.at_level(logging.WARNING):
        store = CaptionStore.open(path)
    assert "image_0" in store
    assert ("image_1" in store) == (cut == 1), "one byte less is only the line's end"
    store.add(*(record(i) for i in (1, 2) if f"image_{i}" not in store))
    assert [CaptionStore.read(path)[f"image_{i}"] for i in range(3)] == [record(i).caption for i in range(3)]
    assert all(json.loads(line) for line in path.read_text().splitlines())
    assert ("torn last line" in caplog.text) == (cut > 1)
    assert len(path.read_text().splitlines()) == 3


def test_a_broken_line_in_the_middle_is_an_error_with_its_number(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_text('{"id": "a", "caption": "x"}\n{"id": "b", "capt\n{"id": "c", "caption": "z"}\n')
    with pytest.raises(ValueError, match=r"c\.jsonl, line 2: not JSON"):
        CaptionStore.read(path)
    path.write_text('{"id": "a"}\n')
    with pytest.raises(ValueError, match="line 1: expected an object with texts 'id' and 'caption'"):
        CaptionStore.read(path)


def test_missing_and_failed_images(tmp_path):
    store = CaptionStore([record(0), CaptionRecord(id="bad", caption="", extra={"error": "truncated"})])
    assert store.missing(["bad", "image_0", "new"]) == ["bad", "new"]
    assert store.failed() == {"bad": "truncated"}
    with pytest.raises(ValueError, match="'bad' has no caption: truncated"):
        store["bad"]
    with pytest.raises(ValueError, match=r"no caption for image 'new' \(2 ids, e.g. 'image_0'\)"):
        store["new"]


@pytest.mark.parametrize(
    ("known", "asked"),
    [("2007_000033", "2007_000033.jpg"), ("/bathroom/rgb_1.jpg", "bathroom/rgb_1"), ("night/a.b.png", "night/a.b")],
)
def test_ids_are_found_without_suffix_and_leading_slash(known, asked):
    store = CaptionStore([CaptionRecord(id=known, caption="a cat")])
    assert store[asked] == store[known] == "a cat"
    assert store.missing([asked]) == []


@pytest.mark.parametrize("name", ["c.jsonl", "c.json", "c.csv", "c.parquet"])
def test_conversion_there_and_back_keeps_everything(tmp_path, name):
    if name == "c.parquet":
        pytest.importorskip("pyarrow")
    records = [
        CaptionRecord(id="a/b", caption='a "dog",\nrunning', extra={"class_label": 12}),
        CaptionRecord(id="c", caption="a cat", extra={"captions": ["- a cat", " a cat "], "class_label": 0}),
    ]
    store = CaptionStore(records)
    if name == "c.json":  # the paper's JSON knows captions and class labels only
        source = "c.json"
        records = [CaptionRecord(id=r.id, caption=r.caption, source=source, extra=r.extra) for r in records]
    store.write(tmp_path / name)
    assert list(CaptionStore.read(tmp_path / name).records()) == records
    assert [file.name for file in tmp_path.iterdir()] == [name], "no half-written file is left"


def test_txt_files_beside_images(tmp_path):
    CaptionStore([CaptionRecord(id="a/b", caption="a dog"), CaptionRecord(id="c", caption="a cat")]).write(tmp_path)
    (tmp_path / "a" / "b.jpg").touch()
    (tmp_path / "c.png").touch()
    (tmp_path / "classes.txt").write_text("not a caption")
    store = CaptionStore.read(tmp_path)
    assert dict(zip(store, map(store.__getitem__, store), strict=True)) == {"a/b": "a dog", "c": "a cat"}
    with pytest.raises(ValueError, match="leads out of the folder"):
        CaptionStore([CaptionRecord(id="../x", caption="a dog")]).write(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1, 2]", "expected one object"),
        ("{", "not JSON"),
        ('{"a": {"captions": []}}', "'a' should hold"),
        ('{"a": "a dog"}', "'a' should hold"),
    ],
)
def test_wrong_paper_json_is_one_clear_line(tmp_path, content, message):
    (tmp_path / "c.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        CaptionStore.read(tmp_path / "c.json")


def test_unknown_kinds_and_missing_files(tmp_path):
    with pytest.raises(ValueError, match="no such caption file"):
        CaptionStore.read(tmp_path / "none.jsonl")
    (tmp_path / "c.xml").touch()
    with pytest.raises(ValueError, match="unknown kind of caption file"):
        CaptionStore.read(tmp_path / "c.xml")
    with pytest.raises(ValueError, match=r"\.jsonl"):
        CaptionStore.open(tmp_path / "c.json")


PAPER_FILES = [
    "watercolor_captions.json",
    "voc_val_captions.json",
    "dark_zurich_captions_min=0_max=77.json",
    "nighttimedriving_captions_min=0_max=77.json",
]


@pytest.mark.parametrize("name", PAPER_FILES)
@pytest.mark.parametrize("between", ["c.jsonl", "c.csv"])
def test_the_papers_files_come_back_without_loss(shared_data, tmp_path, name, between):
    source = shared_data / "captions" / name
    store = CaptionStore.read(source)
    store.write(tmp_path / between)
    CaptionStore.read(tmp_path / between).write(tmp_path / "back.json")
    original = json.loads(source.read_text())
    assert json.loads((tmp_path / "back.json").read_text()) == original
    assert len(store) == len(original)
    assert not any(store[i].startswith("- ") or store[i] != store[i].strip() for i in store)


def _add_many(path: str, worker: int, count: int) -> None:
    store = CaptionStore.open(path)
    for i in range(count):
        store.add(CaptionRecord(id=f"{worker}/{i}", caption=f"caption {i} " * 50))


def test_two_processes_add_to_one_file(tmp_path, repository, monkeypatch):
    monkeypatch.syspath_prepend(repository)  # where the spawned processes find this module
    path = str(tmp_path / "c.jsonl")
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_many, args=(path, worker, 40)) for worker in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0, 0]
    assert len(CaptionStore.read(path)) == 80


@pytest.mark.slow
def test_a_million_rows_open_in_seconds(tmp_path):
    path = tmp_path / "c.jsonl"
    with path.open("w") as file:
        for i in range(1_000_000):
            file.write(f'{{"id": "image_{i}", "caption": "a dog and {i} cats", "captioner": "blip2"}}\n')
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB
    start = time.process_time()
    store = CaptionStore.read(path)
    seconds = time.process_time() - start
    megabytes = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    sys.stdout.write(f"\n1,000,000 rows read in {seconds:.1f} s, {megabytes:.0f} MiB more at the peak\n")
    assert store["image_999999"] == "a dog and 999999 cats"
    assert seconds < 30
    assert megabytes < 2000
