"""Runs that are stopped, killed, starved of disk or memory, or given nonsense: the last good state stays."""

import multiprocessing
import os
import re
import resource
import shutil
import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from tadp_captioning import CaptionStore, factory
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.console.reporter import quiet
from tadp_cli.inputs.prepare import with_captions
from tadp_cli.pipelines.train import train
from tadp_cli.run.lock import run_lock
from tadp_cli.run.run import Run
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training.checkpoint import last_state, read_state

pytestmark = pytest.mark.numerical

SMALL = {
    "segmentation": ("head.variant=ade", "head.width=16", "prompt.kind=oracle"),
    "depth": ("head.fusion_channels=16", "prompt.kind=empty"),
    "detection": ("head.fpn_channels=16", "head.representation_size=32", "prompt.kind=oracle"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for task in SMALL:
        for split, count in (("train", 5), ("val", 1)):
            write_scenes(root / task, task=task, domain="photo", split=split, count=count, seed=0, size=32)
    return root


@pytest.fixture
def recipe(data):
    def make(*settings: str, task: str = "segmentation") -> Recipe:
        fixed = (f"data.folder={data / task}", "train.batch_size=2", "train.warmup=1", "train.save_every=2")
        return load_recipe(f"scenes-{task}", (*fixed, "train.steps=4", *SMALL[task], *settings))

    return make


def _saved(folder: Path) -> dict[str, Tensor]:
    """The head, and the UNet where it was trained: a frozen one is a reference."""
    names = ("model.safetensors", "backbone/unet/diffusion_pytorch_model.safetensors")
    files = [name for name in names if (folder / name).is_file()]
    return {f"{name}/{key}": tensor for name in files for key, tensor in load_file(folder / name).items()}


def _equal(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first | second)


class CrashError(Exception):
    """What no code of ours expects."""


def _at(step: int, act):
    """A reporter that acts when that many steps are done."""

    def report(what, done, total):
        if (what, done) == ("train", step):
            act()

    return report


def _crash():
    raise CrashError


@pytest.mark.parametrize(
    "task", [task if task == "segmentation" else pytest.param(task, marks=pytest.mark.slow) for task in SMALL]
)
def test_two_halves_are_the_whole_for_every_task_whatever_reads_the_images(task, recipe, tmp_path):
    """A UNet that trains, an average, steps of two passes; the second half has a process of its own that reads."""
    settings = ("train.unet_lr_scale=0.1", "train.ema=0.9", "train.transform=user", "train.size=32")
    settings += ("train.accumulate=2",)
    whole = train(recipe(*settings, task=task), tmp_path / "whole")
    parts = tmp_path / "parts"
    with pytest.raises(CrashError):
        train(recipe(*settings, task=task), parts, report=_at(3, _crash))
    assert read_state(last_state(parts))["step"] == 2
    assert train(recipe(*settings, "train.workers=1", task=task), parts, resume=True) == whole
    assert _equal(_saved(tmp_path / "whole"), _saved(parts))
    assert (parts / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()


def test_sigterm_ends_the_step_saves_and_says_how_to_go_on(recipe, tmp_path):
    """Sent to the process that reads images too, as a job's end is."""
    settings = ("train.unet_lr_scale=0", "train.save_every=100", "train.transform=user", "train.size=32")
    train(recipe(*settings), tmp_path / "whole")
    parts, readers = tmp_path / "parts", []

    def stop():
        readers.extend(multiprocessing.active_children())
        for process in (*(reader.pid for reader in readers), os.getpid()):
            os.kill(process, signal.SIGTERM)

    with pytest.raises(RuntimeError, match=r"stopped on request after 3 of 4 steps.*step_00000003\.pt.*--resume"):
        train(recipe(*settings, "train.workers=1"), parts, report=_at(2, stop))
    assert len(readers) == 1
    train(recipe(*settings, "train.save_every=1"), parts, resume=True)
    assert _equal(_saved(tmp_path / "whole"), _saved(parts))


@pytest.mark.parametrize("workers", [0, 1])
def test_an_image_that_cannot_be_read_is_named_whoever_reads_it(recipe, data, tmp_path, workers):
    broken = tmp_path / "data"
    shutil.copytree(data / "segmentation", broken)
    (broken / "images" / "train_00002.png").write_bytes(b"no picture")
    settings = ("train.transform=user", "train.size=32", "prompt.kind=empty", f"train.workers={workers}")
    with pytest.raises(ValueError, match=r"train_00002\.png") as caught:
        train(recipe(*settings, f"data.folder={broken}"), tmp_path / "run")
    assert "Traceback" not in str(caught.value)
    assert not multiprocessing.active_children(), "a reader that is left keeps the program from ending"


def test_readers_end_with_a_run_that_fails(recipe, tmp_path):
    def fail():
        assert multiprocessing.active_children()
        raise RuntimeError("of the step")

    with pytest.raises(RuntimeError, match="of the step"):
        train(recipe("train.transform=user", "train.size=32", "train.workers=1"), tmp_path, report=_at(2, fail))
    assert not multiprocessing.active_children()


@pytest.mark.parametrize("value", [float("nan"), 1e38])
def test_a_loss_that_is_no_number_stops_with_the_last_good_state(recipe, tmp_path, value):
    from torch import nn

    poisoned: list[nn.Module] = []
    handle = nn.modules.module.register_module_forward_pre_hook(
        lambda module, args: poisoned.append(module) if isinstance(module, nn.BatchNorm2d) and module.training else None
    )

    def poison():
        with torch.no_grad():
            poisoned[0].weight.fill_(value)

    try:
        with pytest.raises(
            RuntimeError, match=r"at step 4: lower train\.lr; the last good state is .*step_00000002\.pt"
        ):
            train(recipe("train.unet_lr_scale=0"), tmp_path / "run", report=_at(3, poison))
    finally:
        handle.remove()
    state = read_state(last_state(tmp_path / "run"))
    assert all(tensor.isfinite().all() for tensor in state["trained"].values())


def test_a_full_disk_stops_with_the_last_good_state(recipe, tmp_path):
    """The system refuses to let files grow beyond a limit, as a full disk would."""
    out, before = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill():
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, before[1]))

    try:
        with pytest.raises(RuntimeError, match=r"state after step 4 could not be written .*step_00000002\.pt"):
            train(recipe("train.unet_lr_scale=0"), out, report=_at(3, fill))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in (out / "state").iterdir()] == ["step_00000002.pt"]
    train(recipe("train.unet_lr_scale=0"), out, resume=True)


def test_out_of_memory_names_the_settings_to_change(recipe, tmp_path):
    def no_memory(module, args):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB\nmore lines")

    from torch import nn

    def install():
        installed.append(nn.modules.module.register_module_forward_pre_hook(no_memory))

    installed: list = []
    try:
        with pytest.raises(RuntimeError) as caught:
            train(recipe("train.unet_lr_scale=0"), tmp_path / "run", report=_at(2, install))
    finally:
        installed[0].remove()
    for words in (
        "train.batch_size",
        "train.accumulate",
        "train.gradient_checkpointing",
        "train.precision",
        "2.00 GiB",
    ):
        assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_run_a_folder_at_a_time(recipe, tmp_path):
    with run_lock(tmp_path / "run"), pytest.raises(ValueError, match=r"another process is at work on .*run"):
        train(recipe(), tmp_path / "run")
    assert not (tmp_path / "run").exists(), "nothing was written"
    with run_lock(tmp_path / "run"):
        (tmp_path / "run" / "file").touch()
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["file"]


def test_a_run_resumes_with_settings_that_change_nothing_only(recipe, tmp_path, monkeypatch):
    out, pages, finish = tmp_path / "run", [], Run.finish

    def finish_behind_the_page(run, *arguments):
        pages.append(re.search("<p>(.*?):", (out / "training.html").read_text())[1])
        return finish(run, *arguments)

    monkeypatch.setattr(Run, "finish", finish_behind_the_page)
    with pytest.raises(CrashError):
        train(recipe("train.unet_lr_scale=0"), out, report=_at(3, _crash))
    with pytest.raises(ValueError, match=r"train\.lr was 0\.015, is now 0\.1"):
        train(recipe("train.unet_lr_scale=0", "train.lr=0.1"), out, resume=True)
    with pytest.raises(ValueError, match=r"train\.batch_size was 2, is now 4"):
        train(recipe("train.unet_lr_scale=0", "train.batch_size=4"), out, resume=True)
    free = ("train.keep=3", "train.batch_size=1", "train.accumulate=2", "description=again")
    train(recipe("train.unet_lr_scale=0", *free), out, resume=True)
    assert pages == ["Finished"], "a process killed behind the results would leave a page that reloads for ever"
    (out / "results.json").unlink()  # as if killed between the last state and the results
    train(recipe("train.unet_lr_scale=0", *free[1:], "train.keep=1"), out, resume=True)
    assert [state.name for state in (out / "state").iterdir()] == ["step_00000004.pt"]


def test_a_training_loads_its_captioner_once_and_a_resume_not_at_all(data, tmp_path, monkeypatch):
    """BLIP-2 was read for each split, also where both had all captions."""
    loads, load = [], factory.load_captioner
    monkeypatch.setattr(factory, "load_captioner", lambda *given, **how: loads.append(given) or load(*given, **how))
    short = ("train.steps=1", "train.batch_size=1", "head.variant=ade", "head.width=4", "train.unet_lr_scale=0")
    recipe = load_recipe("scenes-segmentation", (f"data.folder={data / 'segmentation'}", *short))
    train(recipe, tmp_path / "run")
    assert len(loads) == 1
    (tmp_path / "run" / "results.json").unlink()
    train(recipe, tmp_path / "run", resume=True)
    assert len(loads) == 1


def test_one_captioner_captions_source_and_target(data, tmp_path, monkeypatch):
    loads, load = [], factory.load_captioner
    monkeypatch.setattr(factory, "load_captioner", lambda *given, **how: loads.append(given) or load(*given, **how))
    target = tmp_path / "target"
    write_scenes(target, task="segmentation", domain="watercolor", split="test", count=1, seed=1, size=32)
    folders = (f"data.folder={data / 'segmentation'}", f"test.folder={target}", "prompt.domain=watercolor")
    recipe = with_captions(load_recipe("scenes-segmentation", folders), tmp_path / "out", "cpu", quiet)
    assert len(CaptionStore.read(Path(recipe.test.captions))) == 1
    assert len(loads) == 1
