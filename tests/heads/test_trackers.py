"""Experiment trackers: what is recorded is read back from the event files of TensorBoard."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from torch.nn import functional

from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training import TrainConfig, evaluate, fit
from tadp_heads.training.contexts import ModelContexts
from tadp_heads.training.tracking.panel import validation_panel
from tadp_heads.training.tracking.trackers import Trackers, check_trackers

CONFIG = TrainConfig(steps=4, batch_size=2, warmup=1, save_every=2, eval_every=2, log_with=("tensorboard",))


def event_file():
    """The reader of TensorBoard's own event files."""
    return pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="the extra tadp-heads[tensorboard]"
    )


class Pooled:
    """A backbone without weights: its levels are the image in two sizes."""

    levels = ((3, 4), (3, 8))

    def __call__(self, images, context):
        return SimpleNamespace(levels=[functional.avg_pool2d(images, stride) for _, stride in self.levels])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, task="segmentation", domain="photo", split="train", count=3, seed=0)
    return open_folder(folder, "segmentation", "train")


def model_of(data):
    torch.manual_seed(0)
    head = get_task("segmentation").build_head(Pooled.levels, data.classes)
    return PerceptionModel(Pooled(), head, PerceptionConfig(task="segmentation", classes=data.classes, prompt=""))


def recorded(folder):
    reader = event_file().EventAccumulator(str(folder / "tracking" / "tensorboard"), size_guidance={"images": 0})
    return reader.Reload()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own imports
def test_a_resumed_run_continues_its_record(data, tmp_path):
    event_file()
    model = model_of(data)

    def panel():
        return validation_panel(model, data, ModelContexts(model), count=2)

    class KilledError(Exception):
        pass

    def killed(step, line):
        if step == 3:
            raise KilledError

    how = {"evaluate": lambda: evaluate(model, data), "panel": panel}
    with pytest.raises(KilledError):
        fit(model, data, None, CONFIG, tmp_path, on_step=killed, **how)
    fit(model_of(data), data, None, CONFIG, tmp_path, **how)
    found = recorded(tmp_path)
    losses = [(event.step, event.value) for event in found.Scalars("train/loss")]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    expected = [(line["step"], line["loss"]) for line in lines if "loss" in line]
    assert [step for step, _ in losses] == [1, 2, 3, 4], "step 3 is there once, though it was done twice"
    assert [value for _, value in losses] == pytest.approx([value for _, value in expected], rel=1e-5)
    assert [event.step for event in found.Scalars("lr/head")] == [1, 2, 3, 4]
    (metric,) = found.Scalars("val/mIoU")
    (line,) = [line for line in lines if "val" in line]
    assert (metric.step, metric.value) == (line["step"], pytest.approx(line["val"]["mIoU"], rel=1e-5))
    (shown,) = found.Images("val/predictions")
    assert (shown.step, shown.width) == (2, 512)


def test_nothing_is_written_without_a_tracker(data, tmp_path):
    fit(model_of(data), data, None, replace(CONFIG, steps=1, log_with=()), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl", "state"]
    with Trackers((), tmp_path / "run", settings={}) as trackers:
        trackers.start(0)
        trackers.log(1, {"loss": 1.0})
        trackers.image(1, "a", Image.new("RGB", (4, 4)))
    assert not (tmp_path / "run").exists()


def test_trackers_that_are_not_there_are_named():
    with pytest.raises(ValueError, match=r"unknown tracker in train.log_with 'tensorbord'; choose from .*tensorboard"):
        TrainConfig(log_with=("tensorbord",))
    with pytest.raises(ValueError, match="log_with clearml: not installed; pip install clearml"):
        check_trackers(("clearml",))
