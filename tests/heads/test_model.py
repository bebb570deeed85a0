"""PerceptionModel with a small backbone of its own kind: predicting, saving, loading, and finding plugins."""

import json
import sys

import numpy as np
import pytest
import torch
from agreement import assert_same_ids
from PIL import Image

from tadp_heads import PerceptionConfig, PerceptionModel, SegmentationResult
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.preprocessing import to_imagenet_range, to_sd_range
from tadp_heads.registry import TASKS, get_task
from tadp_heads.segmentation import FPNHead

pytestmark = pytest.mark.numerical

PLUGIN = '''
from collections import namedtuple
from pathlib import Path
import torch
from torch import nn

Features = namedtuple("Features", "levels")

class SmallBackbone(nn.Module):
    """Three levels from convolutions; the text's mean is added to every feature."""

    levels = ((16, 4), (24, 8), (32, 16))

    def __init__(self):
        super().__init__()
        widths = (3, 16, 24, 32)
        strides = (4, 2, 2)
        self.convs = nn.ModuleList(
            nn.Conv2d(a, b, 2 * s - 1, stride=s, padding=s - 1) for a, b, s in zip(widths, widths[1:], strides)
        )

    def encode_text(self, texts):
        return torch.tensor([[[float(len(t))] * 4] * 77 for t in texts]) / 10

    def forward(self, images, context):
        assert images.shape[-1] % 16 == images.shape[-2] % 16 == 0
        levels, x = [], images + context.mean((1, 2))[:, None, None, None]
        for conv in self.convs:
            x = conv(x).relu()
            levels.append(x)
        return Features(tuple(levels))

    def save_pretrained(self, folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        torch.save(self.state_dict(), Path(folder) / "weights.pt")

    @classmethod
    def from_pretrained(cls, folder):
        backbone = cls()
        backbone.load_state_dict(torch.load(Path(folder) / "weights.pt", weights_only=True))
        return backbone

class Captioner:
    def __init__(self, name):
        self.name = name

    def caption(self, images):
        return [f"{self.name} sees {image.width} columns" for image in images]
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """An installed package that offers a backbone and a captioner by entry points, as the siblings do."""
    site = tmp_path / "site"
    info = site / "small_plugin-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "small_plugin.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: small-plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[tadp.backbones]\nsmall = small_plugin:SmallBackbone\n[tadp.captioners]\ndefault = small_plugin:Captioner\n"
    )
    monkeypatch.setattr(sys, "path", [str(site), *sys.path])
    import small_plugin

    yield small_plugin
    del sys.modules["small_plugin"]


def build(plugin, context=None, **options):
    torch.manual_seed(0)
    backbone = plugin.SmallBackbone()
    config = PerceptionConfig(task="segmentation", classes=("background", "square", "disc"), **options)
    return PerceptionModel(backbone, FPNHead(backbone.levels, 3), config, context)


def picture(width, height, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def test_predicting_in_batches_equals_one_by_one(plugin):
    model = build(plugin)
    images = [picture(48, 32, 1), picture(37, 21, 2), picture(48, 32, 3), picture(48, 32, 4)]
    captions = ["a", "two words", "a longer caption", ""]
    together = model.predict_batch(images, captions, batch_size=2)
    for image, caption, result in zip(images, captions, together, strict=True):
        alone = model.predict(image, caption)
        assert isinstance(result, SegmentationResult)
        assert result.ids.shape == (image.height, image.width)
        assert_same_ids(result.ids, alone.ids)
        assert result.overlay().size == image.size
        assert sum(result.areas.values()) == pytest.approx(1)
        assert set(result.areas) <= {"background", "square", "disc"}


def test_the_caption_and_the_template_reach_the_backbone(plugin):
    model = build(plugin, prompt="a painting of {caption}")
    assert torch.equal(model.encode_captions(["cat"]), model.backbone.encode_text(["a painting of cat"]))
    image = picture(32, 32)
    assert not torch.equal(model.predict(image, "a").ids, model.predict(image, "a" * 60).ids)


def test_missing_captions(plugin):
    image = picture(32, 16)
    with pytest.raises(ValueError, match="no caption for 1 of 1 images"):
        build(plugin).predict(image)
    assert torch.equal(build(plugin, prompt="").predict(image).ids, build(plugin, prompt="").predict(image, "x").ids)
    speaking = build(plugin, captioner="tiny")
    assert torch.equal(speaking.predict(image).ids, speaking.predict(image, "tiny sees 32 columns").ids)
    with pytest.raises(ValueError, match="2 captions for 1 images"):
        speaking.predict_batch([image], ["a", "b"])


def test_saving_and_loading(plugin, tmp_path):
    model = build(plugin, prompt="see {caption}", captioner="tiny", protocol="ms-flip")
    model.save_pretrained(tmp_path / "run")
    loaded = PerceptionModel.from_pretrained(tmp_path / "run")
    image = picture(40, 24)
    assert torch.equal(loaded.predict(image).ids, model.predict(image).ids)
    assert json.loads((tmp_path / "run" / "config.json").read_text())["model"]["backbone"] == "small"
    assert "`square`, `disc`" in (tmp_path / "run" / "README.md").read_text()
    kept = PerceptionModel.from_pretrained(tmp_path / "run", backbone=model.backbone)
    assert kept.backbone is model.backbone


@pytest.mark.parametrize(
    "change", [{"context_shape": [1, 60000, 60000]}, {"context_shape": [-1]}, {"head": {"width": 64000}}]
)
def test_sizes_beyond_the_weights_are_refused_before_they_are_allocated(plugin, tmp_path, change):
    build(plugin).save_pretrained(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    values = json.loads(path.read_text())
    change = {key: values[key] | value if isinstance(value, dict) else value for key, value in change.items()}
    path.write_text(json.dumps(values | change))
    with pytest.raises(ValueError, match=r"config\.json: found .*(sizes of [\d,]+ numbers|expected sizes of 1 to)"):
        PerceptionModel.from_pretrained(tmp_path / "run")


def test_a_fixed_context_is_saved_with_the_model(plugin, tmp_path):
    model = build(plugin, context=torch.rand(1, 5, 4) * 9)
    model.save_pretrained(tmp_path / "run")
    loaded = PerceptionModel.from_pretrained(tmp_path / "run")
    assert torch.equal(loaded.context, model.context)
    image = picture(32, 32)
    assert torch.equal(loaded.predict(image).ids, model.predict(image, "no matter what").ids)


def test_a_folder_of_images(plugin, tmp_path):
    for i, width in enumerate((32, 20, 32, 32, 50)):
        (tmp_path / "in" / "deep").mkdir(parents=True, exist_ok=True)
        picture(width, 24, i).save(tmp_path / "in" / "deep" / f"{i}.png")
    model = build(plugin, captioner="tiny")
    results = dict(model.predict_folder(tmp_path / "in", {"deep/1": "given"}, batch_size=2))
    assert list(results) == [f"deep/{i}" for i in range(5)]
    assert_same_ids(results["deep/1"].ids, model.predict(picture(20, 24, 1), "given").ids)


def test_broken_folders(plugin, tmp_path):
    with pytest.raises(DataError, match=r"config\.json: found no file"):
        PerceptionModel.from_pretrained(tmp_path)
    build(plugin).save_pretrained(tmp_path / "run")
    path = tmp_path / "run" / "config.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "model": {**values["model"], "backbone": "huge"}}))
    with pytest.raises(ValueError, match=r"no 'huge' among the plugins 'tadp.backbones' \(.*small"):
        PerceptionModel.from_pretrained(tmp_path / "run")
    path.write_text(json.dumps({**values, "model": {**values["model"], "speed": 3}}))
    with pytest.raises(DataError, match="the keys of PerceptionConfig"):
        PerceptionModel.from_pretrained(tmp_path / "run")
    path.write_text("{")
    with pytest.raises(DataError, match="no valid JSON"):
        PerceptionModel.from_pretrained(tmp_path / "run")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task": "poetry"}, "unknown task 'poetry'; choose from segmentation, depth, detection"),
        ({"task": "segmentation", "protocol": "fast"}, "unknown segmentation protocol 'fast'"),
        ({"task": "segmentation", "image_range": "bytes"}, "unknown image_range"),
        ({"task": "segmentation", "classes": ("a",), "palette": ((0, 0, 0), (1, 1, 1))}, "2 colours for 1 classes"),
    ],
)
def test_wrong_configs(options, message):
    with pytest.raises(ValueError, match=message):
        PerceptionConfig(**options)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_goes_through_the_same_calls(name, plugin):
    torch.manual_seed(0)
    backbone, task = plugin.SmallBackbone(), get_task(name)
    classes = () if name == "depth" else ("square", "disc")
    levels = backbone.levels
    small = {"fpn_channels": 16, "representation_size": 32} if name == "detection" else {}
    head = task.build_head(levels, classes, **small)
    assert isinstance(head, task.head_class)
    images, context = torch.rand(2, 3, 64, 64) * 2 - 1, backbone.encode_text(["a", "b"])
    detection = {
        "boxes": torch.tensor([[4.0, 4.0, 40.0, 40.0]]),
        "labels": torch.tensor([1]),
        "difficult": torch.tensor([False]),
    }
    targets = {
        "segmentation": [torch.randint(0, 2, (64, 64)) for _ in range(2)],
        "depth": [torch.rand(64, 64) * 9 + 0.5 for _ in range(2)],
        "detection": [detection, detection],
    }[name]
    loss = task.loss(head.train(), backbone(images, context).levels, targets)
    loss.backward()
    assert loss.shape == ()
    assert loss.item() > 0
    model = PerceptionModel(backbone, head, PerceptionConfig(task=name, classes=classes))
    bytes_ = [torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8) for _ in range(3)]
    predictions = model.predict_tensors(bytes_, backbone.encode_text(["a", "b", "c"]), batch_size=2)
    metric = task.metric(classes, next(iter(task.protocols)))
    for prediction in predictions:
        metric.update(prediction, task.evaluation_target(targets[0], next(iter(task.protocols))))
    assert all(isinstance(value, float) for value in metric.compute().values())
    width, height = model.predict(picture(50, 40), "c").overlay().size
    factor = width // 50 if name == "detection" else 1  # boxes are drawn on a small image enlarged
    assert (width, height) == (50 * factor, 40 * factor)


def test_ranges():
    image = torch.tensor([0, 255], dtype=torch.uint8).view(1, 1, 2).expand(3, 1, 2)
    assert to_sd_range(image).unique().tolist() == [-1, 1]
    expected = torch.tensor([(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225])
    torch.testing.assert_close(to_imagenet_range(image)[:, 0, 1], expected)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["pascal", "ade"])
def test_overfitting_four_scenes_from_disk(plugin, tmp_path, variant):
    write_scenes(tmp_path / "data", task="segmentation", domain="photo", split="all", count=4, seed=3)
    dataset = open_folder(tmp_path / "data")
    torch.manual_seed(0)
    task, backbone = get_task("segmentation"), plugin.SmallBackbone()
    head = task.build_head(backbone.levels, dataset.classes, variant=variant, width=64)
    samples = [dataset[i] for i in range(len(dataset))]
    images, targets = torch.stack([to_sd_range(s.image) for s in samples]), [s.target for s in samples]
    model = PerceptionModel(backbone, head, PerceptionConfig(task="segmentation", classes=dataset.classes))
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    context = model.encode_captions(["shapes"] * 4)
    model.train()
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 150)
        optimizer.zero_grad()
        task.loss(head, backbone(images, context).levels, targets).backward()
        optimizer.step()
    metric = task.metric(dataset.classes, "whole")
    for prediction, target in zip(model.predict_tensors([s.image for s in samples], context), targets, strict=True):
        metric.update(prediction, task.evaluation_target(target, "whole"))
    assert metric.compute()["mIoU"] > 0.9
