import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack

import pytest
import torch
from PIL import Image

from tadp_captioning import CaptionStore, Progress, caption_images, find_images, load_captioner


@pytest.fixture
def captioner(blip2_folder):
    return load_captioner(blip2_folder, device="cpu", max_new_tokens=6, batch_size=2)


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_gets_its_own_caption(captioner, image_folder, tmp_path, workers):
    images = find_images(image_folder)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    report = caption_images(captioner, images, store, workers=workers)
    assert report == (7, 0, {})
    with ExitStack() as stack:  # in batches of the same size: rounding decides near ties
        expected = captioner.caption([stack.enter_context(Image.open(path)) for path in images.values()])
    assert {image_id: store[image_id] for image_id in images} == dict(zip(images, expected, strict=True))
    assert len(set(expected)) > 1
    record = CaptionStore.read(tmp_path / "c.jsonl").record("more/picture_5")
    assert (record.source, record.params, record.captioner) == (
        "pictures/more/picture_5.png",
        "min=0_max=6",
        captioner.name,
    )


def test_a_rerun_captions_only_what_is_new_changed_or_asked_for(captioner, image_folder, tmp_path):
    images = find_images(image_folder)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    caption_images(captioner, images, store)
    assert caption_images(captioner, images, CaptionStore.open(tmp_path / "c.jsonl")) == (0, 7, {})
    Image.new("RGB", (20, 20), "green").save(images["picture_1"])
    assert caption_images(captioner, images, store)[:2] == (1, 6)
    assert caption_images(captioner, images, store, redo=["picture_0", "picture_2"])[:2] == (2, 5)
    captioner.params = "min=3_max=6"
    assert caption_images(captioner, images, store)[:2] == (7, 0)
    assert len(CaptionStore.read(tmp_path / "c.jsonl")) == 7


def test_bad_images_are_recorded_and_the_run_continues(captioner, image_folder, tmp_path):
    images = find_images(image_folder)
    whole = images["picture_0"].read_bytes()
    images["picture_0"].write_bytes(whole[: len(whole) // 2])
    images["picture_3"].write_text("not a picture")
    images["picture_4"].unlink()
    store = CaptionStore.open(tmp_path / "c.jsonl")
    captioned, skipped, failed = caption_images(captioner, images, store)
    assert (captioned, skipped) == (4, 0)
    assert set(failed) == {"picture_0", "picture_3", "picture_4"}
    assert "not an image" in failed["picture_3"]
    assert "No such file" in failed["picture_4"]
    assert CaptionStore.read(tmp_path / "c.jsonl").failed() == failed
    assert store.missing(images) == sorted(failed)

    images["picture_0"].write_bytes(whole)
    assert caption_images(captioner, images, store)[:2] == (1, 4)
    assert "picture_0" not in store.failed()


def test_progress_counts_up_to_the_total(captioner, image_folder, tmp_path):
    images = find_images(image_folder)
    images["picture_3"].write_text("not a picture")
    seen: list[Progress] = []
    caption_images(captioner, images, CaptionStore.open(tmp_path / "c.jsonl"), progress=seen.append)
    assert seen[-1] == (7, 1, 7)
    assert [p.done for p in seen] == sorted(p.done for p in seen)


def test_memory_that_runs_out_while_the_next_batch_is_prepared(blip2_folder, image_folder, tmp_path, monkeypatch):
    """Two batches of three are ready when it turns out that one image is all that fits."""
    captioner = load_captioner(blip2_folder, device="cpu", max_new_tokens=6, batch_size=3)
    images = find_images(image_folder)
    expected = CaptionStore()
    caption_images(captioner, images, expected)
    generate = type(captioner.model).generate

    def with_little_memory(self, pixel_values, **settings):
        if len(pixel_values) > 1:
            raise torch.OutOfMemoryError
        return generate(self, pixel_values, **settings)

    monkeypatch.setattr(type(captioner.model), "generate", with_little_memory)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    assert caption_images(captioner, images, store) == (7, 0, {})
    assert {i: store[i] for i in images} == {i: expected[i] for i in images}
    assert captioner.batch_size == 1


def test_the_next_batch_is_prepared_while_the_model_works(captioner, image_folder, monkeypatch):
    """The first answer waits until the second batch is being prepared: without overlap that would never be."""
    prepare, answer, prepared, overlapped, second = captioner.prepare, captioner.answer, [], [], threading.Event()

    def noted(images):
        prepared.append(len(images))
        if len(prepared) == 2:
            second.set()
        return prepare(images)

    def waiting(batch):
        overlapped.append(second.wait(timeout=20))
        return answer(batch)

    monkeypatch.setattr(captioner, "prepare", noted)
    monkeypatch.setattr(captioner, "answer", waiting)
    caption_images(captioner, find_images(image_folder), CaptionStore())
    assert overlapped == [True] * 4
    assert prepared == [2, 2, 2, 1]


def test_an_empty_list_of_images(captioner):
    assert caption_images(captioner, {}, CaptionStore()) == (0, 0, {})


def test_ranks_share_the_images(captioner, image_folder, tmp_path):
    images, captioned = find_images(image_folder), []
    for rank in range(2):
        report = caption_images(captioner, images, CaptionStore.open(tmp_path / "c.jsonl"), rank=rank, world_size=2)
        captioned.append(report.captioned)
    assert captioned == [4, 3]
    lines = (tmp_path / "c.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == sorted(images)


RUN = """
import sys
from tadp_captioning import CaptionStore, caption_images, find_images, load_captioner
if __name__ == "__main__":
    model, data, out, rank, world = sys.argv[1:]
    captioner = load_captioner(model, device="cpu", max_new_tokens=6, batch_size=2)
    print("go", flush=True)
    caption_images(captioner, find_images(data), CaptionStore.open(out), rank=int(rank), world_size=int(world))
"""


def start(*arguments) -> subprocess.Popen:
    command = [sys.executable, "-c", RUN, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ)


def many_images(folder, count: int) -> None:
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (16, 16), (i % 256, i // 2, 90)).save(folder / f"{i:03}.png")


@pytest.mark.slow
def test_kill_9_loses_at_most_the_batch_in_flight(blip2_folder, captioner, tmp_path):
    many_images(tmp_path / "data", 200)
    out = tmp_path / "c.jsonl"
    process = start(blip2_folder, tmp_path / "data", out, 0, 1)
    while not out.exists() or out.stat().st_size < 2000:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = CaptionStore.read(out)
    assert 0 < len(before) < 200
    store = CaptionStore.open(out)
    report = caption_images(captioner, find_images(tmp_path / "data"), store)
    assert report.captioned + report.skipped == 200
    assert report.skipped == len(before)
    lines = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert sorted(lines) == [f"{i:03}" for i in range(200)], "each image once"


@pytest.mark.slow
def test_two_processes_share_the_work_and_the_file(blip2_folder, tmp_path):
    many_images(tmp_path / "data", 21)
    out = tmp_path / "c.jsonl"
    processes = [start(blip2_folder, tmp_path / "data", out, rank, 2) for rank in range(2)]
    for process in processes:
        assert process.wait(timeout=120) == 0
        process.stdout.close()
    lines = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert sorted(lines) == [f"{i:03}" for i in range(21)]
