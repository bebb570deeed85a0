"""Training on any backbone, by the Protocols alone."""

import ast
import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training import ModelContexts, SharedContext, TrainConfig, evaluate, fit
from tadp_heads.training.dataset import LiveBatches, TrainingImages
from tadp_heads.training.loop import Objective
from tadp_heads.training.parallel.data_parallel import share_of
from tadp_heads.training.sampler import Positions, pick

pytestmark = pytest.mark.numerical
LEVELS = ((8, 4), (16, 8))
ENGINE = Path(inspect.getfile(TrainConfig)).parent


class Patches:
    """A plain object: random projections of patches; what it was called with is kept."""

    levels = LEVELS

    def __init__(self):
        generator = torch.Generator().manual_seed(0)
        self.filters = [torch.randn(c, 3, s, s, generator=generator) / s for c, s in self.levels]
        self.contexts = []

    def __call__(self, images, context):
        self.contexts.append(context)
        return SimpleNamespace(levels=[F.conv2d(images, f, stride=f.shape[-1]) for f in self.filters])


class Trainable(nn.Module):
    """A module of which "unet" trains, and which takes text."""

    levels = LEVELS
    unreached = ("unet.behind.*",)

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.unet = nn.ModuleDict({f"level{i}": nn.Conv2d(3, c, s, s) for i, (c, s) in enumerate(self.levels)})
        self.unet["behind"] = nn.Linear(2, 2)
        self.text_encoder = nn.Linear(1, 1)
        self.texts: list[str] = []

    def trainable_parts(self):
        return {"unet": self.unet}

    def encode_text(self, texts):
        self.texts += texts
        return torch.zeros(len(texts), 1, 1)

    def forward(self, images, context):
        return SimpleNamespace(levels=[self.unet[f"level{i}"](images) for i in range(len(self.levels))])


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for split, count in (("train", 5), ("val", 3)):
        write_scenes(root, task="segmentation", domain="photo", split=split, count=count, seed=0, size=32)
    return {split: open_data(root, "segmentation", split) for split in ("train", "val")}


@pytest.fixture
def model(data):
    def make(backbone, **config):
        classes = data["train"].classes
        torch.manual_seed(0)
        head = get_task("segmentation").build_head(backbone.levels, classes, width=64)
        return PerceptionModel(backbone, head, PerceptionConfig(task="segmentation", classes=classes, **config))

    return make


def _same(first, second):
    return all(torch.equal(first[key], second[key]) for key in first)


SHORT = TrainConfig(steps=4, batch_size=2, warmup=0, save_every=2)


def test_a_plain_object_is_a_backbone_and_a_run_in_two_halves_is_the_whole(model, data, tmp_path):
    whole = model(Patches(), prompt="")
    fit(whole, data["train"], None, SHORT, tmp_path / "whole")
    assert set(whole.backbone.contexts) == {None}, "it takes no text"

    class CrashError(Exception):
        pass

    def crash(step, metrics):
        if step == 3:
            raise CrashError

    with pytest.raises(CrashError):
        fit(model(Patches(), prompt=""), data["train"], None, SHORT, tmp_path / "parts", on_step=crash)
    parts = model(Patches(), prompt="")
    fit(parts, data["train"], None, SHORT, tmp_path / "parts")
    assert _same(whole.head.state_dict(), parts.head.state_dict())
    assert (tmp_path / "parts" / "metrics.jsonl").read_text() == (tmp_path / "whole" / "metrics.jsonl").read_text()
    assert evaluate(whole, data["val"]) == evaluate(parts, data["val"])


def test_callbacks_get_steps_and_evaluations(model, data, tmp_path):
    steps, evaluated, reported = [], [], []
    ours = model(Patches(), prompt="")
    fit(
        ours,
        data["train"],
        None,
        TrainConfig(steps=4, batch_size=2, eval_every=2),
        tmp_path,
        evaluate=lambda: evaluate(ours, data["val"]),
        on_step=lambda step, line: steps.append((step, line)),
        on_evaluate=lambda step, metrics: evaluated.append((step, metrics)),
        report=lambda *what: reported.append(what),
    )
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert steps == [(line["step"], line) for line in lines if "loss" in line]
    assert [step for step, _ in steps] == [1, 2, 3, 4]
    assert evaluated == [(line["step"], line["val"]) for line in lines if "val" in line]
    assert [step for step, _ in evaluated] == [2], "the last one is the caller's"
    assert ("train", 4, 4) in reported


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_the_parts_that_a_backbone_names_train_and_all_else_is_frozen(model, data, tmp_path, scale):
    ours = model(Trainable(), prompt="{caption}")
    before = {name: tensor.clone() for name, tensor in ours.backbone.state_dict().items()}
    contexts = ModelContexts(ours, {image_id: f"a picture {image_id}" for image_id in data["train"].ids})
    fit(ours, data["train"], contexts, TrainConfig(steps=1, batch_size=2, warmup=0, unet_lr_scale=scale), tmp_path)
    changed = {name for name, tensor in ours.backbone.state_dict().items() if not torch.equal(tensor, before[name])}
    assert {name.split(".")[1] for name in changed} == ({"level0", "level1"} if scale else set())
    assert not ours.backbone.text_encoder.weight.requires_grad
    assert set(ours.backbone.texts) <= {f"a picture {image_id}" for image_id in data["train"].ids}
    assert ours.backbone.texts


def test_one_context_is_shared_by_all_images(model, data, tmp_path):
    ours = model(Patches(), prompt="")
    fit(ours, data["train"], SharedContext(torch.ones(1, 2, 3)), TrainConfig(steps=1, batch_size=2), tmp_path)
    assert all(torch.equal(context, torch.ones(len(context), 2, 3)) for context in ours.backbone.contexts)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lora_rank": 2}, r"train.lora_rank needs a backbone that has add_low_rank\(\), and Patches has none"),
        ({"gradient_checkpointing": True}, r"train.gradient_checkpointing needs .* checkpoint_gradients\(\)"),
        ({"freeze": ("unet.*",)}, r"'unet.\*' names no parameter; they begin with head"),
    ],
)
def test_settings_that_a_backbone_cannot_meet_are_refused(model, data, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        fit(model(Patches(), prompt=""), data["train"], None, TrainConfig(**changes), tmp_path)


def test_a_prompt_with_a_place_for_captions_needs_captions(model, data, tmp_path):
    with pytest.raises(ValueError, match=r"has a place for captions: pass ModelContexts\(model, captions\)"):
        fit(model(Trainable()), data["train"], None, SHORT, tmp_path)


def test_a_loss_setting_that_the_task_lacks_is_refused(model, data, tmp_path):
    with pytest.raises(ValueError, match="settings of loss: unknown 'gama'"):
        fit(model(Patches(), prompt=""), data["train"], None, SHORT, tmp_path, loss={"gama": 2})


def test_positions_of_a_long_run_are_drawn_as_they_are_needed():
    """800 thousand steps of 16 images as a list would take a gigabyte, and seconds before the first step."""
    config = TrainConfig(steps=800_000, batch_size=8, accumulate=2)
    positions = iter(Positions(share_of(config, 1, 0), range(700_000, config.steps)))
    assert next(positions) == list(range(11_200_000, 11_200_008))
    assert next(positions) == list(range(11_200_008, 11_200_016))
    assert pick(config, 11_200_015, 10_000).index < 10_000


def test_the_path_of_an_image_to_its_loss_is_short(model, data):
    """Of the files of training it enters these, in addition to the share of a step (data_parallel)."""
    ours, config, entered = model(Patches(), prompt=""), TrainConfig(batch_size=2), set()
    live = LiveBatches(ours, TrainingImages(data["train"], config), ModelContexts(ours))
    objective = Objective(ours, {})

    def note(frame, event, arg):
        path = Path(frame.f_code.co_filename)
        if event == "call" and ENGINE in path.parents:
            entered.add(path.relative_to(ENGINE).as_posix())

    sys.setprofile(note)
    try:
        objective(next(live.batches(iter([[0, 1]]))))
    finally:
        sys.setprofile(None)
    assert {"dataset.py", "loop.py", "sampler.py"} <= entered
    assert entered <= {"config.py", "contexts.py", "dataset.py", "loop.py", "sampler.py"}


def test_the_path_of_the_learning_rate_to_the_optimizer_is_short():
    """Modules of the engine that read the setting; the loop gives their result to the optimizer."""
    trees = {path.name: ast.parse(path.read_text()) for path in ENGINE.rglob("*.py")}
    reading = {
        n for n, tree in trees.items() for x in ast.walk(tree) if isinstance(x, ast.Attribute) and x.attr == "lr"
    }
    assert reading == {"lr_schedule.py", "optimizer.py"}
