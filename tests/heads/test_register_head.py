"""Heads of the user's own: registered by name, rebuilt from the arguments they were built with, cut to the image."""

import json

import pytest
import torch
from torch import nn

from tadp_heads import PerceptionConfig, PerceptionModel, get_task, register_head, register_task
from tadp_heads.data.errors import DataError
from tadp_heads.registry import TASKS, head_class, heads_of

LEVELS = ((8, 4), (16, 8))
CLASSES = ("background", "square", "disc")


class Features:
    def __init__(self, levels):
        self.levels = levels


class Backbone(nn.Module):
    """Two levels by average pooling."""

    def encode_text(self, texts):
        return torch.zeros(len(texts), 1, 1)

    def forward(self, images, context):
        assert images.shape[-1] % 8 == images.shape[-2] % 8 == 0
        pooled = [torch.nn.functional.avg_pool2d(images, stride) for _, stride in LEVELS]
        return Features([level.repeat(1, 6, 1, 1)[:, :c] for (c, _), level in zip(LEVELS, pooled, strict=True)])

    def save_pretrained(self, folder):
        folder.mkdir()

    @classmethod
    def from_pretrained(cls, folder):
        return cls()


def linear(task="segmentation", name="linear"):
    """A fresh class, registered."""

    @register_head(task, name)
    class Linear(nn.Module):
        def __init__(self, levels, num_classes, width: int = 4, names=("a",)):
            super().__init__()
            self.stem = nn.Conv2d(levels[0].channels, width, 1)
            self.classify = nn.Conv2d(width, num_classes, 1)

        def forward(self, levels):
            assert isinstance(levels, tuple)
            return self.classify(self.stem(levels[0]))

    return Linear


def model_of(head, task="segmentation", classes=CLASSES):
    return PerceptionModel(Backbone(), head, PerceptionConfig(task=task, classes=classes, prompt=""))


def test_a_registered_head_is_built_saved_and_loaded(own_registries, tmp_path):
    linear()
    head = get_task("segmentation").build_head(LEVELS, CLASSES, name="linear", width=6)
    model_of(head).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["head"]
    assert saved == {"name": "linear", "levels": [[8, 4], [16, 8]], "num_classes": 3, "width": 6, "names": ["a"]}
    assert "the head `linear` is code of its own: import the module" in (tmp_path / "README.md").read_text()
    loaded = PerceptionModel.from_pretrained(tmp_path, Backbone())
    assert loaded.size_multiple == 8
    images = [torch.randint(0, 255, (3, 21, 37), dtype=torch.uint8)]
    found = loaded.predict_tensors(images, torch.zeros(1, 1, 1))
    assert found[0].shape == (21, 37)
    assert torch.equal(found[0], model_of(head).predict_tensors(images, torch.zeros(1, 1, 1))[0])


def test_a_saved_head_that_is_not_registered_is_named(own_registries, tmp_path):
    cls = linear()
    model_of(cls(LEVELS, 3)).save_pretrained(tmp_path)
    heads_of("segmentation").data.pop("linear")
    with pytest.raises(DataError, match=r"config\.json: found the head 'linear'.* import the module .* --plugin FILE"):
        PerceptionModel.from_pretrained(tmp_path, Backbone())
    register_head("segmentation", "linear")(
        type("Other", (nn.Module,), {"__init__": lambda self, levels, num_classes: 0})
    )
    with pytest.raises(DataError, match=r"settings \['levels', 'names', 'num_classes', 'width'\].*'width'"):
        PerceptionModel.from_pretrained(tmp_path, Backbone())


def test_names_that_are_taken_and_unknown_ones_are_refused(own_registries):
    linear()
    for name in ("linear", "fpn"):
        with pytest.raises(ValueError, match=f"there is a segmentation head '{name}' already"):
            linear(name=name)
    with pytest.raises(ValueError, match="unknown task 'depht'; choose from segmentation, depth, detection"):
        linear(task="depht")
    with pytest.raises(ValueError, match="unknown segmentation head 'liner'; choose from fpn, bn-linear, linear"):
        head_class("segmentation", "liner")
    with pytest.raises(ValueError, match="there is a task 'depth' already"):
        register_task("depth")(object)


@pytest.mark.parametrize(
    "constructor",
    [
        lambda self, levels: None,
        lambda self, num_classes, levels: None,
        lambda self, levels, num_classes, *more: None,
        lambda self, levels, num_classes, name="": None,
    ],
)
def test_a_constructor_with_other_arguments_is_refused(own_registries, constructor):
    with pytest.raises(ValueError, match=r"expected __init__\(self, levels, num_classes, \.\.\.\)"):
        register_head("segmentation", "wrong")(type("Wrong", (nn.Module,), {"__init__": constructor}))


def test_settings_that_could_not_be_saved_and_maps_of_other_channels_are_refused(own_registries):
    cls = linear()
    with pytest.raises(ValueError, match="Linear: width is <function"):
        cls(LEVELS, 3, width=linear)
    with pytest.raises(TypeError, match="Linear: got an unexpected keyword argument 'depth'"):
        cls(LEVELS, 3, depth=1)
    head = cls(LEVELS, 3)
    head.classify = nn.Conv2d(4, 2, 1)
    with pytest.raises(ValueError, match=r"Linear gives \(1, 2, 4, 4\): expected logits \(B, 3, h, w\)"):
        get_task("segmentation").loss(head, [torch.rand(1, 8, 4, 4)], [torch.zeros(16, 16, dtype=torch.long)])


def test_a_subclass_records_its_own_arguments_and_an_unregistered_one_is_refused(own_registries):
    cls = linear()

    @register_head("segmentation", "wide")
    class Wide(cls):
        def __init__(self, levels, num_classes):
            super().__init__(levels, num_classes, width=32)

    class Unknown(cls):
        pass

    assert get_task("segmentation").build_head(LEVELS, CLASSES, name="wide").stem.out_channels == 32
    with pytest.raises(ValueError, match="Unknown for the task 'segmentation': expected a FPNHead or a class that"):
        model_of(Unknown(LEVELS, 3))


def test_depth_of_a_registered_head_is_resized_and_cropped_to_the_image(own_registries):
    @register_head("depth", "mean")
    class Mean(nn.Module):
        def __init__(self, levels):
            super().__init__()
            self.read = nn.Conv2d(levels[0].channels, 1, 1)

        def forward(self, levels):
            return self.read(levels[0]).exp()

    task = get_task("depth")
    head = task.build_head(LEVELS, (), name="mean")
    metres = model_of(head, "depth", ()).predict_tensors(
        [torch.zeros(3, 13, 22, dtype=torch.uint8)], torch.zeros(1, 1, 1)
    )
    assert metres[0].shape == (13, 22)
    features = [torch.rand(1, c, 16 // s, 24 // s) for c, s in LEVELS]
    assert task.loss(head, features, [torch.ones(13, 22)], (13, 22)).shape == ()


def test_boxes_of_a_registered_detector_are_clipped_to_the_image(own_registries):
    @register_head("detection", "whole")
    class Whole(nn.Module):
        """The whole padded image is an object, and so is its padding."""

        def __init__(self, levels, num_classes):
            super().__init__()
            self.score = nn.Parameter(torch.zeros(num_classes))

        def forward(self, levels, targets=None):
            if self.training:
                return {"a": self.score.sum() + 1, "b": self.score.new_tensor(float(len(targets[0]["boxes"])))}
            height, width = levels[0].shape[-2] * 4.0, levels[0].shape[-1] * 4.0
            boxes = torch.tensor([[0, 0, width, height], [0, height - 1, 5, height]])
            found = {"boxes": boxes, "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([1, 0])}
            return [found] * len(levels[0])

    task = get_task("detection")
    head = task.build_head(LEVELS, CLASSES, name="whole")
    (found,) = model_of(head, "detection").predict_tensors(
        [torch.zeros(3, 13, 22, dtype=torch.uint8)], torch.zeros(1, 1, 1)
    )
    assert found["boxes"].tolist() == [[0, 0, 22, 13]]
    assert found["labels"].tolist() == [1]
    target = {"boxes": torch.rand(2, 4), "labels": torch.zeros(2), "difficult": torch.tensor([True, False])}
    loss = task.loss(head.train(), [torch.rand(1, 8, 4, 4)], [target], use_difficult=False)
    assert loss.item() == pytest.approx(2)


def test_an_installed_package_registers_by_its_entry_point(own_registries, tmp_path, monkeypatch):
    info = tmp_path / "more_heads-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: more-heads\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tadp.plugins]\nmore = more_heads\n")
    (tmp_path / "more_heads.py").write_text(
        "from tadp_heads import register_task\n@register_task('poetry')\nclass Poetry:\n    name = 'poetry'\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert get_task("poetry").name == "poetry"
    (tmp_path / "more_heads.py").write_text("import no_such_module\n")
    TASKS.data.pop("poetry")
    monkeypatch.delitem(__import__("sys").modules, "more_heads")
    own_registries()
    with pytest.raises(ValueError, match=r"the installed plugin 'more' \(more_heads\) cannot be imported .*no_such"):
        get_task("poetry")


def test_the_linear_head_is_built_in_and_saved_by_its_name(tmp_path):
    head = get_task("segmentation").build_head(LEVELS, CLASSES, name="bn-linear")
    model_of(head).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "config.json").read_text())["head"]
    assert saved == {"name": "bn-linear", "levels": [[8, 4], [16, 8]], "num_classes": 3}
    assert "code of its own" not in (tmp_path / "README.md").read_text()
    loaded = PerceptionModel.from_pretrained(tmp_path, Backbone()).head
    maps = (torch.rand(2, 8, 4, 6), torch.rand(2, 16, 2, 3))
    assert loaded(maps).shape == (2, 3, 4, 6)
    assert torch.equal(loaded(maps), head.eval()(maps))
