"""Self-training on unlabelled images: what becomes a label, who is asked, when it stops."""

import json

import pytest
import torch
from torch.testing import assert_close
from torchvision import tv_tensors

from tadp_backbone import DiffusionBackbone
from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.data import IGNORE_INDEX
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.data.unlabelled import UnlabelledImages
from tadp_heads.segmentation.output import ConfidentIds
from tadp_heads.training import SelfTrainingConfig, TargetDomain, TrainConfig, fit
from tadp_heads.training.dataset import Batch, features_of
from tadp_heads.training.self_training.confidence import ClassConfidence
from tadp_heads.training.self_training.learner import _encoded
from tadp_heads.training.self_training.monitor import WINDOW, CollapseMonitor
from tadp_heads.training.self_training.pseudo_labels import pseudo_labels

pytestmark = pytest.mark.numerical
LEVELS = ((8, 4), (16, 8), (16, 16))


class Patches(torch.nn.Module):
    """Projections of patches that train, and a context that is added to them."""

    levels = LEVELS

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.unet = torch.nn.ModuleDict({str(i): torch.nn.Conv2d(3, c, s, s) for i, (c, s) in enumerate(LEVELS)})
        self.seen = []

    def trainable_parts(self):
        return {"unet": self.unet}

    def forward(self, images, context):
        self.seen.append((self.training, context.flatten().unique().tolist()))
        return type("Features", (), {"levels": [f(images) + context.mean() for f in self.unet.values()]})


class Numbers:
    """The first version of each image's text is 1, the last 2; of the source it is 0."""

    def __init__(self, versions):
        self.versions = versions

    def context(self, ids, versions=None):
        chosen = torch.tensor(versions or [0] * len(ids)) + (1 if self.versions == 2 else 0)
        return chosen[:, None, None].float()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for task in ("segmentation", "detection"):
        write_scenes(root / task, task=task, domain="photo", split="train", count=4, seed=0, size=32)
    return {task: open_data(root / task, task, "train") for task in ("segmentation", "detection")}


def target_of(dataset, **settings):
    images = UnlabelledImages(dataset.image_files, dataset.task, dataset.classes)
    config = SelfTrainingConfig(**{"start": 1, "confidence": 0.0, **settings})
    return TargetDomain(images=images, contexts=Numbers(2), config=config)


def fitted(data, out, target=None, task="segmentation", backbone=None, **settings):
    classes = data[task].classes
    torch.manual_seed(0)
    options = {"width": 64} if task == "segmentation" else {"fpn_channels": 8, "representation_size": 16}
    backbone = backbone or Patches()
    head = get_task(task).build_head(LEVELS, classes, **options)
    model = PerceptionModel(backbone, head, PerceptionConfig(task=task, classes=classes))
    fit(model, data[task], Numbers(1), TrainConfig(batch_size=2, warmup=0, **settings), out, target=target)
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return model, lines


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_teacher_and_student_see_the_same_images_under_their_own_prompts(task, data, tmp_path):
    backbone = Patches()
    _, lines = fitted(data, tmp_path, target_of(data[task]), task, backbone, steps=2)
    assert backbone.seen[:3] == [(True, [0.0]), (True, [0.0]), (False, [1.0])], "source, source, teacher"
    assert all(seen == (True, [2.0]) for seen in backbone.seen[3:]), "the student"
    assert [("pseudo_labels" in line) for line in lines] == [False, True]


@pytest.mark.parametrize("frozen", [False, True])
def test_a_resumed_run_is_the_same(frozen, data, tmp_path):
    how = {"unet_lr_scale": 0.0} if frozen else {}
    whole, _ = fitted(data, tmp_path / "whole", target_of(data["segmentation"]), steps=4, **how)
    out = tmp_path / "parts"
    fitted(data, out, target_of(data["segmentation"]), steps=4, save_every=2, keep=9, **how)
    (out / "state" / "step_00000004.pt").unlink()
    again, _ = fitted(data, out, target_of(data["segmentation"]), steps=4, **how)
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        assert_close(one, other)
    plain, _ = fitted(data, tmp_path / "plain", steps=4, **how)
    assert any(not torch.allclose(a, b) for a, b in zip(whole.parameters(), plain.parameters(), strict=True))


def test_labels_of_the_target_are_never_read(data, tmp_path):
    """The dataset knows image files alone: with every label file gone the run is the same."""
    folder = tmp_path / "target"
    write_scenes(folder, task="segmentation", domain="night", split="train", count=3, seed=5, size=32)
    dataset = open_data(folder, "segmentation", "train")
    before, _ = fitted(data, tmp_path / "before", target_of(dataset), steps=3)
    masks = list((folder / "masks").rglob("*.png"))
    assert masks
    for mask in masks:
        mask.write_text("no label")
    after, _ = fitted(data, tmp_path / "after", target_of(dataset), steps=3)
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert_close(one, other)


def test_thresholds_follow_the_mean_confidence_of_each_class():
    confidence = ClassConfidence(3, 0.8)
    assert confidence.thresholds.tolist() == pytest.approx([0.8] * 3)
    confidence.update(torch.tensor([0, 0, 1]), torch.tensor([1.0, 0.8, 0.45]))
    assert confidence.thresholds.tolist() == pytest.approx([0.8, 0.4, 0.8])
    confidence.update(torch.tensor([1]), torch.tensor([0.9]))
    assert confidence.means.tolist() == pytest.approx([0.9, 0.495, 0.0])


class _Says:
    name = "segmentation"

    def __init__(self, ids, sure):
        self.found = [ConfidentIds(torch.tensor(i), torch.tensor(s)) for i, s in zip(ids, sure, strict=True)]

    def predict_confident(self, head, extract, images, protocol):
        assert extract(images)[0].shape[0] == len(images) == len(self.found)
        return self.found


def test_unsure_pixels_and_those_outside_the_image_are_no_labels():
    frames = [tv_tensors.Mask(torch.tensor([[0, 0, IGNORE_INDEX]])), tv_tensors.Mask(torch.zeros(1, 3).long())]
    batch = Batch(frames, size=(1, 3))
    task = _Says([[[0, 1, 1]], [[1, 1, 1]]], [[[1.0, 0.5, 1.0]], [[0.1, 0.1, 0.1]]])
    found = pseudo_labels(task, None, [torch.zeros(2, 4, 1, 1)], batch, ClassConfidence(2, 0.9))
    assert found.images == [0]
    assert found.targets[0].tolist() == [[0, 1, IGNORE_INDEX]]
    assert found.kept == pytest.approx(2 / 5)
    assert found.counts.tolist() == [1, 4]


def test_the_monitor_stops_when_a_class_takes_the_others_over(data, tmp_path, caplog):
    monitor = CollapseMonitor(4, 0.5)
    for _ in range(WINDOW):
        monitor.update(torch.tensor([1, 1, 1, 1]))
    assert monitor.first == pytest.approx(4)
    assert not monitor.collapsed
    for _ in range(50):
        monitor.update(torch.tensor([9, 0, 0, 0]))
    assert monitor.collapsed
    monitor.update(torch.zeros(4))
    never = CollapseMonitor(4, 0.0)
    never.load_state_dict(monitor.state_dict())
    assert never.diversity == monitor.diversity
    assert not never.collapsed


def test_a_stopped_run_continues_on_the_source_alone(data, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(CollapseMonitor, "collapsed", property(lambda self: self.batches >= 2))
    _, lines = fitted(data, tmp_path / "stopped", target_of(data["segmentation"]), steps=4)
    assert "self-training stopped at step 2" in caplog.text
    assert all(line["loss"] > 0 for line in lines)


@pytest.mark.parametrize(
    "settings", [{"confidence": 1.0}, {"decay": -0.1}, {"prompted": "nobody"}, {"weight": -1.0}, {"start": -1}]
)
def test_settings_out_of_range_are_reported(settings):
    with pytest.raises(ValueError, match=f"self_training.{next(iter(settings))}"):
        SelfTrainingConfig(**settings)


@pytest.mark.parametrize("noise", [False, True])
@torch.no_grad()
def test_a_step_encodes_its_images_once(noise):
    """Their sides are no multiple of the backbone's, which are padded before they are encoded."""
    backbone = DiffusionBackbone.from_pretrained("tiny", noise=noise)
    of_teacher = Batch([], images=torch.rand(2, 3, 40, 56) * 2 - 1, padded_size=(40, 56), size=(40, 56))
    of_teacher = of_teacher._replace(context=backbone.encode_text(["a cat", "a dog"]))
    batches = of_teacher, of_teacher._replace(context=of_teacher.context.flip(0))
    encoded = _encoded(backbone, *batches)
    if noise:
        assert encoded == batches, "both draw for themselves"
        return
    assert all(batch.images is None for batch in encoded)
    for got, expected in zip(encoded, batches, strict=True):
        assert_close(features_of(backbone, got), features_of(backbone, expected))


def test_a_backbone_without_latents_takes_images():
    batch = Batch([], images=torch.zeros(1, 3, 32, 32))
    assert _encoded(Patches(), batch, batch) == (batch, batch)
