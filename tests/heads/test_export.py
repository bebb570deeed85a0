"""Export of each task's graph, and the comparison that keeps no file that differs."""

from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.depth import DepthOutput
from tadp_heads.detection import DetectionOutput
from tadp_heads.export import ExportSettings, export
from tadp_heads.export.parity import differences, largest
from tadp_heads.export.pt2 import Pt2Runner
from tadp_heads.registry import register_head
from tadp_heads.segmentation import SegmentationOutput

needs_onnx = pytest.mark.skipif(
    find_spec("onnxruntime") is None, reason="the extra tadp-heads[export] is not installed"
)
LEVELS = ((12, 4), (16, 8), (24, 16))
SMALL = {"depth": {"fusion_channels": 16, "head_channels": 8, "deconv_channels": (8,)}}
SMALL["detection"] = {"fpn_channels": 16, "representation_size": 32}
BOXES = torch.tensor([[[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 40.0, 60.0], [0.0, 0.0, 0.0, 0.0]]])


class Features:
    def __init__(self, levels):
        self.levels = levels


class Pooled(nn.Module):
    """Levels by average pooling; the context's mean is added to the image."""

    def encode_text(self, texts):
        return torch.tensor([[[float(len(text))]] for text in texts]) / 10

    def forward(self, images, context):
        images = images + context.mean((1, 2))[:, None, None, None]
        pooled = [F.avg_pool2d(images, stride).repeat(1, 8, 1, 1)[:, :width] for width, stride in LEVELS]
        return Features(tuple(level * torch.linspace(-2, 2, level.shape[1])[:, None, None] for level in pooled))


class Linear(nn.Module):
    """The smallest segmentation head: an export takes a second or two."""

    def __init__(self, levels, num_classes):
        super().__init__()
        self.classify = nn.Conv2d(levels[0].channels, num_classes, 1)

    def forward(self, levels):
        return self.classify(levels[0])


class HalfPooled(Pooled):
    """Computes in the type that it was optimized for."""

    dtype = torch.float32

    def optimize(self, dtype, channels_last):
        self.dtype = dtype

    def forward(self, images, context):
        return super().forward(images.to(self.dtype), context.to(self.dtype))


def linear_model(prompt):
    head = register_head("segmentation", "linear")(Linear)(LEVELS, 3)
    config = PerceptionConfig(task="segmentation", classes=("square", "disc", "star"), prompt=prompt)
    return PerceptionModel(Pooled(), head, config)


@pytest.fixture
def linear(own_registries):
    """A model with that head, and the empty prompt."""
    return linear_model("")


def model_of(task, prompt=""):
    torch.manual_seed(0)
    classes = () if task == "depth" else ("square", "disc", "star")
    head = get_task(task).build_head(LEVELS, classes, **SMALL[task])
    if task == "depth":  # the first weights are so small that one depth is predicted everywhere
        for module in head.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight)
    if task == "detection":  # as wide a spread of scores as a trained one has
        head.roi_heads.box_predictor.cls_score.weight.data *= 30
        head.rpn.head.cls_logits.weight.data *= 100
    return PerceptionModel(Pooled(), head, PerceptionConfig(task=task, classes=classes, prompt=prompt))


@needs_onnx
def test_a_graph_takes_any_number_of_images_and_gives_what_the_model_gives(linear, tmp_path):
    done = export(linear, tmp_path / "model.onnx", ExportSettings(size=(44, 80)))
    assert [str(found).split()[0] for found in done.differences] == ["logits"]
    assert set(done.milliseconds) == {"model", "exported"}
    assert done.text_path is None
    card = done.path.with_suffix(".md").read_text()
    assert "`images` float32 (N, 3, H, W): RGB in [-1, 1], that is pixel / 127.5 - 1; N >= 1, H = 44, W = 80" in card
    assert "0 `square`, 1 `disc`, 2 `star`" in card
    assert_equal(linear, done.path, (44, 80))


@needs_onnx
def test_a_graph_of_any_size_takes_sizes_that_it_was_not_traced_with(linear, tmp_path):
    done = export(linear, tmp_path / "model.onnx", ExportSettings(size=None))
    assert "H and W multiples of 16" in done.path.with_suffix(".md").read_text()
    for size in ((16, 16), (80, 64)):
        assert_equal(linear, done.path, size)


@needs_onnx
def test_where_captions_vary_their_context_is_an_input_and_the_text_encoder_a_second_file(
    own_registries, tmp_path, monkeypatch
):
    model = linear_model("{caption}")
    written = []
    monkeypatch.setattr("tadp_heads.export.exporter.write_text_encoder", lambda _, path, __: written.append(path))
    done = export(model, tmp_path / "model.onnx", ExportSettings(size=(32, 48)))
    assert written == [done.text_path] == [tmp_path / "model_text.onnx"]
    assert_equal(model, done.path, (32, 48), context=model.encode_captions(["a", "bcd", "efghijkl"]))
    folded = export(model, tmp_path / "one.onnx", ExportSettings(size=(32, 48)), caption="a cat")
    assert folded.text_path is None
    assert_equal(model, folded.path, (32, 48), folded=model.encode_captions(["a cat"]))


@needs_onnx
def test_half_precision_is_the_backbones_alone(linear, tmp_path):
    model = PerceptionModel(HalfPooled(), linear.head, linear.config)
    done = export(model, tmp_path / "model.onnx", ExportSettings(size=(32, 48), precision="fp16"))
    assert "precision: fp16" in done.path.with_suffix(".md").read_text()
    assert model.backbone.dtype == torch.float16
    assert_equal(model, done.path, (32, 48))


@needs_onnx
def test_a_file_that_differs_is_not_kept(linear, tmp_path, monkeypatch):
    monkeypatch.setattr("tadp_heads.export.exporter.OnnxRunner.__call__", lambda *_: [torch.full((2, 3, 32, 48), 9.0)])
    with pytest.raises(RuntimeError, match=r"differs from the model and is not kept: logits"):
        export(linear, tmp_path / "model.onnx", ExportSettings(size=(32, 48)))
    assert list(tmp_path.iterdir()) == []


@needs_onnx
@pytest.mark.slow
@pytest.mark.parametrize("task", ["depth", "detection"])
def test_the_graphs_of_the_other_tasks(task, tmp_path):
    model = model_of(task)
    done = export(model, tmp_path / "model.onnx", ExportSettings(size=(44, 80)))
    assert_equal(model, done.path, (44, 80))


@needs_onnx
@pytest.mark.slow
def test_a_graph_of_any_size(tmp_path):
    model = model_of("depth")
    done = export(model, tmp_path / "model.onnx", ExportSettings(size=None))
    assert "H and W multiples of 16" in done.path.with_suffix(".md").read_text()
    assert_equal(model, done.path, (48, 80))


def assert_equal(model, path, size, context=None, folded=None):
    """`context`: an input of the graph; `folded`: a constant of it."""
    import onnxruntime

    session = onnxruntime.InferenceSession(path)
    inputs = {"images": torch.rand(3, 3, *size) * 2 - 1} | ({} if context is None else {"context": context})
    with torch.no_grad():
        expected = model(inputs["images"], context if folded is None else folded)
    assert all(value.std() > 0 for value in expected if value.is_floating_point()), (
        "any graph would give one value everywhere"
    )
    assert [value.name for value in session.get_inputs()] == list(inputs)
    assert [value.name for value in session.get_outputs()] == list(expected._fields)
    found = [torch.from_numpy(value) for value in session.run(None, {n: value.numpy() for n, value in inputs.items()})]
    assert all(difference.is_small for difference in differences(expected, found, "fp32"))


def test_a_compiled_package_gets_images_in_the_order_that_its_code_reads(monkeypatch):
    """A decoded image is (H, W, 3) in memory; given as that, the compiled code computed something else."""
    given = []
    monkeypatch.setattr("torch._inductor.aoti_load_package", lambda _: lambda images: [given.append(images) or images])
    images = torch.rand(1, 8, 8, 3).permute(0, 3, 1, 2)
    (found,) = Pt2Runner(Path("a.pt2"), torch.device("cpu"))({"images": images})
    assert given[0].is_contiguous()
    assert torch.equal(found, images)


def test_differences_are_relative_to_the_largest_value():
    output = DepthOutput(torch.tensor([[[[1.0, 20.0]]]]))
    (found,) = differences(output, [output.metres + 0.01], "fp32")
    assert found.is_small
    assert str(found) == "metres 0.01 (allowed 0.02)"
    assert not differences(output, [output.metres + 0.03], "fp32")[0].is_small
    assert not differences(output, [output.metres * torch.nan], "fp32")[0].is_small
    assert differences(output, [output.metres + 0.03], "fp16")[0].is_small
    logits = SegmentationOutput(torch.zeros(1, 2, 3, 3))
    batches = [differences(logits, [logits.logits + value], "fp32") for value in (0.0, torch.nan, 0.1)]
    assert not largest(batches)[0].is_small


def test_detections_are_compared_with_their_counterparts():
    ours = DetectionOutput(BOXES, torch.tensor([[0.9, 0.8, 0.0]]), torch.tensor([[1, 0, -1]]))
    turned = [ours.boxes[:, [1, 0, 2]], ours.scores[:, [1, 0, 2]] + 1e-4, ours.labels[:, [1, 0, 2]]]
    turned[1][0, 2] = 0
    assert all(difference.is_small for difference in differences(ours, turned, "fp32"))
    other = [ours.boxes, ours.scores, torch.tensor([[1, 1, -1]])]
    assert [found.name for found in differences(ours, other, "fp32") if not found.is_small] == ["unmatched"]
    nothing = [torch.zeros(1, 3, 4), torch.zeros(1, 3), torch.full((1, 3), -1)]
    assert not all(difference.is_small for difference in differences(ours, nothing, "fp32"))


@pytest.mark.parametrize(
    ("file", "caption", "settings", "message"),
    [
        ("model.pt2", "a cat", {}, "the model's prompt is the same for all images: leave the caption out"),
        ("model.pt2", None, {"precision": "fp16"}, r"Pooled has no optimize\(dtype=\): export it with fp32"),
        ("model.onnx", None, {}, "expected a file that ends in .pt2"),
    ],
)
def test_what_cannot_be_exported(tmp_path, file, caption, settings, message):
    with pytest.raises(ValueError, match=message):
        export(model_of("depth"), tmp_path / file, ExportSettings(format="pt2", **settings), caption=caption)


@pytest.mark.parametrize("settings", [{"size": (0, 8)}, {"format": "tf"}, {"precision": "int8"}])
def test_wrong_settings(settings):
    with pytest.raises(ValueError, match=r"expected pixels|choose from"):
        ExportSettings(**settings)
