"""`PerceptionModel.forward`: the task's output as tensors, equal to what predicting gives, with gradients."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.depth import DepthOutput
from tadp_heads.detection import DetectionOutput
from tadp_heads.preprocessing import RANGES, sd_to_imagenet_range, to_imagenet_range, to_sd_range
from tadp_heads.registry import register_head
from tadp_heads.segmentation import SegmentationOutput
from tadp_heads.training import SharedContext, evaluate

LEVELS = ((12, 4), (16, 8), (24, 16))
SMALL = {
    "segmentation": {"width": 64},
    "depth": {"fusion_channels": 32, "head_channels": 16, "deconv_channels": (8, 8)},
    "detection": {"fpn_channels": 16, "representation_size": 32},
}


class Features:
    def __init__(self, levels):
        self.levels = levels


class Backbone(nn.Module):
    """Levels by average pooling; the context's mean is added to the image."""

    def encode_text(self, texts):
        return torch.tensor([[[float(len(text))]] for text in texts]) / 10

    def forward(self, images, context):
        assert images.shape[-1] % 16 == images.shape[-2] % 16 == 0
        images = images + context.mean((1, 2))[:, None, None, None]
        pooled = [F.avg_pool2d(images, stride).repeat(1, 8, 1, 1)[:, :width] for width, stride in LEVELS]
        return Features(tuple(level * torch.linspace(-2, 2, level.shape[1])[:, None, None] for level in pooled))


def model_of(task, prompt="", **options):
    torch.manual_seed(0)
    classes = () if task == "depth" else ("square", "disc", "star")
    head = get_task(task).build_head(LEVELS, classes, **(SMALL[task] | options)).eval()
    if task == "detection":  # as wide a spread of scores as a trained one has
        head.roi_heads.box_predictor.cls_score.weight.data *= 30
        head.rpn.head.cls_logits.weight.data *= 100
    return PerceptionModel(Backbone(), head, PerceptionConfig(task=task, classes=classes, prompt=prompt)).eval()


def pixels(height=40, width=56):
    return torch.randint(0, 256, (2, 3, height, width), dtype=torch.uint8)


@pytest.mark.parametrize("variant", ["pascal", "ade"])
def test_logits_of_any_image_size_give_the_predicted_mask(variant):
    model, images = model_of("segmentation", variant=variant), pixels()
    output = model(to_sd_range(images))
    assert isinstance(output, SegmentationOutput)
    assert output.logits.shape == (2, 3, 40, 56)
    for predicted, logits in zip(model.predict_tensors(images, torch.zeros(2, 1, 1)), output.logits, strict=True):
        assert (predicted == logits.argmax(0)).float().mean() > 0.99


def test_depth_is_what_is_predicted():
    model, images = model_of("depth"), pixels()
    output = model(to_sd_range(images))
    assert isinstance(output, DepthOutput)
    predicted = torch.stack(model.predict_tensors(images, torch.zeros(2, 1, 1)))[:, None]
    torch.testing.assert_close(output.metres, predicted)


@pytest.mark.parametrize("size", [(48, 64), (37, 90), (16, 16)])
def test_boxes_are_those_of_torchvision(size):
    model, images = model_of("detection"), pixels(*size)
    with torch.no_grad():
        output = model(to_sd_range(images))
    assert isinstance(output, DetectionOutput)
    assert output.boxes.shape == (2, *output.scores.shape[1:], 4)
    for index, found in enumerate(model.predict_tensors(images, torch.zeros(2, 1, 1))):
        count = len(found["scores"])
        assert count > 3
        assert (output.scores[index, count:] == 0).all()
        assert (output.labels[index, count:] == -1).all()
        torch.testing.assert_close(output.scores[index, :count], found["scores"], atol=1e-5, rtol=0)
        torch.testing.assert_close(output.boxes[index, :count], found["boxes"], atol=1e-3, rtol=0)
        assert torch.equal(output.labels[index, :count], found["labels"])


def test_a_registered_detector_gives_tensors_of_one_length(own_registries):
    @register_head("detection", "corner")
    class Corner(nn.Module):
        def __init__(self, levels, num_classes):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, levels, targets=None):
            box = torch.tensor([[0.0, 0.0, 8.0, 8.0], [4.0, 4.0, 20.0, 90.0]])
            parts = {"boxes": box * self.scale, "scores": torch.tensor([0.9, 0.8]), "labels": torch.tensor([1, 0])}
            return [parts, {name: part[:1] for name, part in parts.items()}]

    head = Corner(LEVELS, 3)
    config = PerceptionConfig(task="detection", classes=("square", "disc", "star"), prompt="")
    output = PerceptionModel(Backbone(), head, config).eval()(torch.zeros(2, 3, 40, 56))
    assert output.labels.tolist() == [[1, 0], [1, -1]]
    assert output.boxes[0, 1].tolist() == [4, 4, 20, 40]


def test_the_context_reaches_the_head_and_carries_gradient():
    model = model_of("depth", prompt="{caption}")
    context = model.encode_captions(["a", "a longer text"]).requires_grad_()
    model(torch.zeros(2, 3, 32, 32), context).metres.sum().backward()
    assert context.grad.abs().min() > 0
    assert all(parameter.grad is not None for parameter in model.head.parameters())
    with pytest.raises(ValueError, match="each image has a prompt of its own: pass context"):
        model(torch.zeros(2, 3, 32, 32))


def test_a_backbone_with_a_context_of_its_own_is_evaluated_without_one(tmp_path):
    class Own(Backbone):
        def forward(self, images, context):
            assert context is None
            return super().forward(images, torch.ones(1, 1, 1))

    write_scenes(tmp_path, task="depth", domain="photo", split="val", count=2, seed=0, size=32)
    dataset, model = open_folder(tmp_path, "depth", "val"), model_of("depth")
    expected = evaluate(model, dataset, SharedContext(torch.ones(1, 1, 1)))
    model.backbone = Own()
    assert evaluate(model, dataset, SharedContext(None)) == pytest.approx(expected)


def test_a_detector_in_training_mode_is_refused():
    model = model_of("detection")
    with pytest.raises(ValueError, match=r"call model.eval\(\), or task.loss to train"):
        model.train()(torch.zeros(1, 3, 32, 32))


def test_images_in_sds_range_are_standardised_where_the_model_wants_it():
    images = pixels(16, 16)
    torch.testing.assert_close(sd_to_imagenet_range(to_sd_range(images)), to_imagenet_range(images))
    torch.testing.assert_close(RANGES["imagenet"](images), to_imagenet_range(images))
