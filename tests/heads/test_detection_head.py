"""FasterRCNNHead against torchvision's own FasterRCNN around the same parts, and what its boxes mean."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models.detection import FasterRCNN
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import AnchorGenerator
from torchvision.ops import MultiScaleRoIAlign
from torchvision.tv_tensors import BoundingBoxes

from tadp_heads.data.errors import DataError
from tadp_heads.detection import DetectionTask, FasterRCNNHead, detection_loss, training_targets
from tadp_heads.detection.protocol import PROTOCOLS

pytestmark = pytest.mark.numerical

LEVELS = ((8, 4), (12, 8), (16, 16))
TOY = {"fpn_channels": 16, "representation_size": 24}


def features(height=64, width=64, batch=2, levels=LEVELS, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(batch, c, height // s, width // s, generator=generator) for c, s in levels]


def target(boxes, labels, difficult=None, size=(64, 64)):
    boxes = torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)
    return {
        "boxes": BoundingBoxes(boxes, format="XYXY", canvas_size=size),
        "labels": torch.tensor(labels, dtype=torch.int64),
        "difficult": torch.tensor(difficult or [False] * len(labels), dtype=torch.bool),
    }


TARGETS = [target([[4, 6, 30, 40], [20, 20, 60, 44]], [0, 2]), target([], [])]


class Pyramid(nn.Module):
    """Stands for torchvision's backbone: gives our features through our FPN, whatever the images."""

    def __init__(self, head, maps):
        super().__init__()
        self.head, self.maps, self.out_channels = head, maps, head.config.fpn_channels

    def forward(self, images):
        return self.head.fpn({str(i): feature for i, feature in enumerate(self.maps)})


class Identity(nn.Module):
    """Stands for torchvision's resizing and normalising."""

    def __init__(self, frame):
        super().__init__()
        self.frame = frame

    def forward(self, images, targets=None):
        return ImageList(torch.stack(images), [tuple(i.shape[-2:]) for i in images]), targets

    def postprocess(self, result, image_sizes, original_sizes):
        return result


def torchvision_model(head, maps):
    model = FasterRCNN(
        Pyramid(head, maps),
        num_classes=head.config.num_classes + 1,
        rpn_anchor_generator=AnchorGenerator(((16,), (32,), (64,)), ((0.5, 1.0, 2.0),) * 3),
        box_roi_pool=MultiScaleRoIAlign(["0", "1", "2"], output_size=7, sampling_ratio=2),
        box_head=nn.Sequential(),
        box_batch_size_per_image=head.config.regions_per_image,
    )
    model.transform = Identity((64, 64))
    model.rpn.head = head.rpn.head
    model.roi_heads.box_head = head.roi_heads.box_head
    model.roi_heads.box_predictor = head.roi_heads.box_predictor
    return model


@pytest.fixture
def head():
    torch.manual_seed(0)
    head = FasterRCNNHead(LEVELS, 3, **TOY)
    # Fresh predictors say nothing anywhere; larger weights give every class some detections.
    nn.init.normal_(head.roi_heads.box_predictor.cls_score.weight, std=0.5)
    nn.init.normal_(head.rpn.head.cls_logits.weight, std=0.5)
    return head


@pytest.mark.parametrize("regions", [512, 4])
def test_losses_are_torchvisions(head, regions):
    maps = features()
    head = FasterRCNNHead(LEVELS, 3, **TOY, regions_per_image=regions)
    model = torchvision_model(head, maps).train()
    theirs_targets = [{"boxes": t["boxes"].as_subclass(torch.Tensor), "labels": t["labels"] + 1} for t in TARGETS]
    torch.manual_seed(1)
    ours = head(maps, targets=TARGETS)
    torch.manual_seed(1)
    theirs = model(list(torch.zeros(2, 3, 64, 64)), theirs_targets)
    assert set(ours) == {"loss_classifier", "loss_box_reg", "loss_objectness", "loss_rpn_box_reg"}
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name])
    torch.manual_seed(1)
    torch.testing.assert_close(detection_loss(head, maps, TARGETS), sum(theirs.values()))


def test_detections_are_torchvisions_with_classes_from_zero(head):
    maps = features()
    ours = head.eval()(maps)
    theirs = torchvision_model(head, maps).eval()(list(torch.zeros(2, 3, 64, 64)))
    assert len(ours[0]["boxes"]) > 5
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a["boxes"], b["boxes"])
        torch.testing.assert_close(a["scores"], b["scores"])
        assert torch.equal(a["labels"] + 1, b["labels"])
        assert torch.equal(a["scores"], a["scores"].sort(descending=True).values)
        assert set(a["labels"].tolist()) <= {0, 1, 2}


def test_the_papers_anchors():
    head = FasterRCNNHead(((4, 8), (4, 16), (4, 32), (4, 64)), 20, **TOY)
    assert head.rpn.anchor_generator.sizes == ((32,), (64,), (128,), (256,))
    cells = head.rpn.anchor_generator.cell_anchors[0]
    sides = (cells[:, 2:] - cells[:, :2]).tolist()
    assert sides == [[46, 22], [32, 32], [22, 46]]


def test_full_size_head_has_torchvisions_sizes():
    with torch.device("meta"):
        head = FasterRCNNHead(((320, 8), (717, 16), (1357, 32), (1280, 64)), 20)
    fpn = sum(c * 256 + 256 for c in (320, 717, 1357, 1280)) + 4 * (256 * 256 * 9 + 256)
    rpn = 256 * 256 * 9 + 256 + 256 * 3 + 3 + 256 * 12 + 12
    regions = 256 * 49 * 1024 + 1024 + 1024 * 1024 + 1024 + 1024 * 21 + 21 + 1024 * 84 + 84
    assert sum(p.numel() for p in head.parameters()) == fpn + rpn + regions


def test_boxes_stay_inside_the_real_part_of_a_padded_image(head):
    sizes = [(40, 50), (64, 33)]
    for detections, (height, width) in zip(head.eval()(features(), image_sizes=sizes), sizes, strict=True):
        assert len(detections["boxes"])
        assert detections["boxes"].min() >= 0
        assert detections["boxes"][:, 2].max() <= width
        assert detections["boxes"][:, 3].max() <= height


def test_region_levels_do_not_depend_on_the_first_batch(head):
    """torchvision guesses strides from its first images; a 40x40 image padded to 64 made it read the wrong cells."""
    maps = features(batch=1)
    expected = [value.clone() for value in head.eval()(maps)[0].values()]
    again = FasterRCNNHead(LEVELS, 3, **TOY).eval()
    again.load_state_dict(head.state_dict())
    again(maps, image_sizes=[(40, 40)])
    for value, wanted in zip(again(maps)[0].values(), expected, strict=True):
        assert torch.equal(value, wanted)


def test_gradients_reach_every_parameter_and_the_features(head):
    maps = [feature.requires_grad_() for feature in features()]
    torch.manual_seed(0)
    detection_loss(head, maps, TARGETS).backward()
    assert all(feature.grad.abs().sum() > 0 for feature in maps)
    assert all(parameter.grad is not None for parameter in head.parameters())


def test_a_batch_without_any_object_trains(head):
    loss = detection_loss(head, features(), [target([], []), target([], [])])
    assert loss.isfinite()


def test_autocast_does_not_blur_the_boxes(head):
    maps = features()
    plain = head.eval()(maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = head(maps)
    for a, b in zip(plain, cast, strict=True):
        torch.testing.assert_close(a["boxes"], b["boxes"])


def test_difficult_objects_can_be_left_out_of_training():
    easy, none = training_targets([target([[0, 0, 4, 4], [8, 8, 20, 20]], [1, 2], [True, False]), target([], [])])
    assert easy["boxes"].tolist() == [[8, 8, 20, 20]]
    assert easy["labels"].tolist() == [2]
    assert len(none["boxes"]) == 0


def test_saved_head_comes_back(head, tmp_path):
    head.eval().save_pretrained(tmp_path)
    again = FasterRCNNHead.from_pretrained(tmp_path)
    assert again.config == head.config
    for a, b in zip(again(features()), head(features()), strict=True):
        assert torch.equal(a["boxes"], b["boxes"])
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(DataError, match="found no file"):
        FasterRCNNHead.from_pretrained(tmp_path)


@pytest.mark.parametrize(("outer", "fpn"), [("", "fpn."), ("model.", "model.neck.")])
def test_from_reference_reads_all_sizes_from_the_tensors(head, outer, fpn):
    state = {}
    for key, value in head.state_dict().items():
        state[fpn + key.removeprefix("fpn.") if key.startswith("fpn.") else outer + key] = value
    state["unet.unet.diffusion_model.out.0.weight"] = torch.zeros(3)  # the rest of a whole checkpoint
    again = FasterRCNNHead.from_reference(state, finest_stride=LEVELS[0][1])
    assert (again.config.levels, again.config.num_classes) == (head.config.levels, head.config.num_classes)
    for a, b in zip(again(features()), head.eval()(features()), strict=True):
        assert torch.equal(a["boxes"], b["boxes"])
    del state[outer + "roi_heads.box_head.fc7.bias"]
    with pytest.raises(ValueError, match=r"no complete detector of the public code: .*fc7\.bias"):
        FasterRCNNHead.from_reference(state)
    with pytest.raises(ValueError, match="0 keys end in 'inner_blocks"):
        FasterRCNNHead.from_reference({})


def test_wrong_use_is_named(head):
    with pytest.raises(ValueError, match="needs targets"):
        head(features())
    with pytest.raises(ValueError, match="has no area"):
        head(features(), targets=[target([[4, 4, 4, 9]], [0]), TARGETS[1]])
    with pytest.raises(ValueError, match="pad the image to multiples of 16"):
        head.eval()(features(72, 72))
    with pytest.raises(ValueError, match="each twice the one before"):
        FasterRCNNHead(((8, 4), (8, 16)), 3)
    with pytest.raises(ValueError, match="this head reads"):
        head.eval()(features(levels=((8, 4), (8, 8), (8, 16))))


def extract(images):
    """Pooled colours, so that features know their image."""
    return [F.avg_pool2d(images, stride).repeat(1, c // 3 + 1, 1, 1)[:, :c] for c, stride in LEVELS]


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("size", [(333, 517), (4000, 300), (40, 50)])
def test_every_protocol_predicts_every_size(head, protocol, size):
    images = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    (detections,) = DetectionTask().predict(head.eval(), extract, images, protocol)
    assert len(detections["boxes"])
    assert detections["boxes"][:, 2].max() <= size[1] + 1e-3
    assert detections["boxes"][:, 3].max() <= size[0] + 1e-3
    if PROTOCOLS[protocol].squash:  # found in a square, so some reach beyond the smaller sides
        assert detections["boxes"][:, 3].max() > size[0] / 2


def test_protocols_score_by_their_rules():
    task = DetectionTask()
    assert {name: task.metric(["a"], name).rules for name in task.protocols} == {
        "coco": "coco", "voc2007": "voc2007", "voc2012": "voc2012",
        "coco-512": "coco", "voc2007-512": "voc2007", "voc2012-512": "voc2012",
        "voc2007-paper": "voc2007-paper", "voc2012-paper": "voc2012-paper",
    }  # fmt: skip
    with pytest.raises(ValueError, match="unknown detection protocol 'voc'"):
        task.metric(["a"], "voc")
