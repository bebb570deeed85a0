"""What went wrong is one line, and its exit code distinguishes input files, environment and Ctrl-C."""

import errno
import os
import resource

import numpy as np
import pytest
import torch
from faults import failing
from invoking import tadp
from PIL import Image

from tadp_cli.console.errors import one_line_errors
from tadp_cli.prompts import captions as captions_module
from tadp_cli.prompts.captions import Author, captions_of
from tadp_cli.run.lock import file_lock, run_lock
from tadp_heads.data.image_io import open_image
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes


def refused(code: int, name: str | None = "out/a.json") -> OSError:
    return OSError(code, os.strerror(code), name)


def torch_without_memory() -> RuntimeError:
    return RuntimeError(
        "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 2147483648 bytes."
    )


CASES = {
    "wrong option": (ValueError("--size is 0"), 2, "--size is 0"),
    "no such file": (refused(errno.ENOENT, "in.png"), 2, "in.png: No such file"),
    "a file where a folder should be": (refused(errno.ENOTDIR), 2, "out/a.json: Not a directory"),
    "full disk": (refused(errno.ENOSPC), 1, "out/a.json could not be written: the disk is full"),
    "quota": (refused(errno.EDQUOT), 1, "out/a.json could not be written: your disk quota"),
    "read-only": (refused(errno.EROFS), 1, "out/a.json cannot be written: its file system is read-only"),
    "permission": (refused(errno.EACCES), 1, "no permission for out/a.json"),
    "open files": (refused(errno.EMFILE), 1, "open files is reached; raise it with `ulimit -n 1024`"),
    "any other": (refused(errno.EIO), 1, "out/a.json: Input/output error"),
    "network": (ConnectionError("no connection to the server"), 1, "no connection to the server"),
    "failed work": (RuntimeError("2 of 3 images failed"), 1, "2 of 3 images failed"),
    "memory of Python": (MemoryError(), 1, "not enough memory: use smaller images or batches"),
    "memory of NumPy": (np._core._exceptions._ArrayMemoryError((9, 2**27), np.dtype("int64")), 1, "9.00 GiB more"),
    "memory of torch": (torch_without_memory(), 1, "not enough memory (it takes 2.00 GiB more)"),
    "memory of a GPU": (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.50 GiB. GPU 0"), 1, "3.50 GiB"),
    "memory of a library": (ImportError("x.so: failed to map segment from shared object"), 1, "not enough memory"),
    "Ctrl-C": (KeyboardInterrupt(), 130, "stopped by Ctrl-C"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_cause_has_its_line_and_code(case, capsys):
    error, code, line = CASES[case]
    with pytest.raises(SystemExit) as caught, one_line_errors():
        raise error
    assert caught.value.code == code
    output = capsys.readouterr().err
    assert output.startswith("error: ")
    assert output.count("\n") == 1
    assert line in output


def test_other_errors_are_ours_and_keep_their_traceback():
    for error in (KeyError("a"), ImportError("no module named x")):
        with pytest.raises(type(error)), one_line_errors():
            raise error


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A data set and a run of one step on it."""
    root = tmp_path_factory.mktemp("world")
    for split in ("train", "val"):
        write_scenes(root / "data", task="segmentation", domain="photo", split=split, count=1, seed=0, size=32)
    settings = ("train.steps=1", "train.batch_size=1", "prompt.kind=empty", "head.variant=ade", "head.width=8")
    where = ("--data", root / "data", "--out", root / "run")
    tadp("train", "scenes-segmentation", *where, *(f"--set={setting}" for setting in settings))
    return root


def test_metrics_are_reported_where_the_run_cannot_be_written_to(world):
    with failing(world / "run", 0, errno.EROFS):
        output = tadp("eval", world / "run", "--data", world / "data", "--split", "train", code=1)
    assert "mIoU" in output
    assert output.count("error: ") == 1
    assert f"{world / 'run' / 'results.json'} cannot be written" in output
    assert "mIoU" in tadp("eval", world / "run", "--data", world / "data", "--split", "train")


def test_captions_that_cannot_be_kept_are_made_all_the_same(world, monkeypatch, caplog):
    dataset = open_data(str(world / "data"), "segmentation", "val")
    monkeypatch.setattr(captions_module.os, "access", lambda *_: False)
    store = captions_of(dataset, None, Author(captioner="tiny"), written_to=world / "run" / "captions" / "val.jsonl")
    assert tuple(store) == dataset.ids
    assert not (world / "run" / "captions").exists()
    assert "run cannot be written to" in caplog.text


def test_what_a_check_finds_is_reported_where_nothing_can_be_drawn(world):
    with failing(world / "check", 0, errno.ENOSPC):
        output = tadp("data", "check", world / "data", "--out", world / "check", code=1)
    assert "segmentation: 2 images" in output
    assert "check" in output.split("error: ")[1]


SECOND = {
    "train": ("train", "scenes-segmentation", "--data", "data", "--out", "out"),
    "predict": ("predict", "run", "data", "--out", "out"),
    "personalize": ("personalize", "--domain", "comic", "--out", "out"),
    "adapt": ("adapt", "--source", "data", "--target", "data/images", "--domain", "comic", "--out", "out"),
    "caption": ("caption", "data", "--captioner", "tiny", "--out", "out/c.jsonl"),
    "report": ("report", "run", "--out", "out/page.html"),
}


@pytest.mark.parametrize("name", SECOND)
def test_the_second_process_stops_with_one_line(world, monkeypatch, name):
    monkeypatch.chdir(world)
    file = world / "out" / SECOND[name][-1].removeprefix("out/")
    with file_lock(file) if file.suffix else run_lock(world / "out"):
        output = tadp(*SECOND[name], code=2)
        assert [path.name for path in (world / "out").iterdir()] == [f".{file.name}.lock" if file.suffix else ".lock"]
    assert output.count("another process is at work on ") == 1
    assert not (world / "out").exists()


def test_a_limit_of_open_files_is_not_taken_for_a_broken_image(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        with pytest.raises(OSError, match=r"a\.png") as caught:
            open_image(tmp_path / "a.png")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert caught.value.errno == errno.EMFILE


def test_an_image_that_memory_cannot_hold_is_named_with_what_to_do_and_the_others_are_predicted(world):
    Image.new("RGB", (8000, 8000)).save(world / "large.png")
    small = world / "data" / "images" / "val_00000.png"
    tadp("predict", world / "run", small, "--out", world / "warm")  # what is loaded once
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 500 * 2**20, before[1]))
    try:
        output = tadp("predict", world / "run", world / "large.png", small, "--out", world / "predictions", code=1)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert "1 predicted, 1 failed" in output
    line = output.split("error: ")[1]
    assert "large.png: not enough memory for 8000x8000 pixels" in line
    assert "--size 1024" in line
    assert "--protocol slide" in line
    made = {path.name for path in (world / "predictions").rglob("*.png")}
    assert made == {"legend.png", "val_00000_mask.png", "val_00000_overlay.png"}
