"""Faster R-CNN on a given feature pyramid, out of torchvision's parts (docs/reference.md, section 3)."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Self

import torch
from torch import Tensor
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.models.detection.rpn import AnchorGenerator, RegionProposalNetwork, RPNHead
from torchvision.ops import FeaturePyramidNetwork, MultiScaleRoIAlign
from torchvision.ops.poolers import LevelMapper

from tadp_heads.data.sample import DetectionTarget
from tadp_heads.detection.detections import Detections
from tadp_heads.levels import Level, as_levels
from tadp_heads.preprocessing import check_channels
from tadp_heads.pretrained import PretrainedHead
from tadp_heads.schema import check_config


@dataclass(frozen=True, kw_only=True)
class FasterRCNNHeadConfig:
    """Sizes of a FasterRCNNHead; the defaults are those of the paper's detector."""

    levels: tuple[Level, ...]
    """The pyramid it reads, finest first, each stride twice the one before."""
    num_classes: int
    """Classes of objects; the background is not counted."""
    fpn_channels: int = 256
    """Width of the feature pyramid network."""
    representation_size: int = 1024
    """Width of the two hidden layers of the box head."""
    anchor_cells: float = 4.0
    """Side of a level's square anchor in cells of the level: 32, 64, 128, 256 pixels for strides 8 to 64."""
    anchor_ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Height to width of the anchors."""
    regions_per_image: int = 512
    """Proposals that a training step samples per image; pooling them is most of a step's time."""
    score_threshold: float = 0.05
    """Detections with a lower score are dropped."""
    nms_iou: float = 0.5
    """IoU above which non-maximum suppression drops the lower-scoring of two detections of a class."""
    max_detections: int = 100
    """At most this many an image."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "levels", as_levels(self.levels))
        object.__setattr__(self, "anchor_ratios", tuple(self.anchor_ratios))
        check_config(self)
        strides = [level.stride for level in self.levels]
        # torchvision assigns regions to levels by powers of two, without gaps.
        if strides[0].bit_count() != 1 or any(b != 2 * a for a, b in pairwise(strides)):
            raise ValueError(f"strides {strides}: the detector needs powers of two, each twice the one before")
        for name in ("num_classes", "regions_per_image"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: expected at least 1")


class FasterRCNNHead(PretrainedHead):
    """FPN, region proposals and region classifier; all that the config does not say is torchvision's default.

    docs/reference.md, section 3, compares it with the paper's. ValueError for strides that do not double.
    """

    config_class = FasterRCNNHeadConfig
    config: FasterRCNNHeadConfig

    def __init__(self, levels: Iterable[Any], num_classes: int, **options: Any):
        """`options`: the further fields of FasterRCNNHeadConfig."""
        super().__init__()
        self.config = config = FasterRCNNHeadConfig(levels=tuple(levels), num_classes=num_classes, **options)
        self.input_levels = config.levels
        self.fpn = FeaturePyramidNetwork([level.channels for level in config.levels], config.fpn_channels)
        self.rpn = _proposals(config)
        self.roi_heads = _regions(config)

    def forward(
        self,
        features: Sequence[Tensor],
        targets: Sequence[DetectionTarget] | None = None,
        image_sizes: Sequence[tuple[int, int]] | None = None,
    ) -> dict[str, Tensor] | list[Detections]:
        """Training mode: `targets` -> the four losses by name; eval mode: one Detections per image.

        `image_sizes`: (height, width) of each image before it was padded right and bottom to the size that the
        features cover, which is the default; boxes are clipped to it. Boxes (N, 4) are XYXY in pixels of that frame,
        scores (N,) in [0, 1], labels (N,) 0-based. ValueError in training mode without targets.
        """
        if self.training and targets is None:
            raise ValueError("training mode needs targets; call .eval() to predict")
        images = self._frame(features, image_sizes)
        # In float32 also under autocast: between 256 and 512 bfloat16 has steps of 2, and anchors would be that coarse.
        with torch.autocast(features[0].device.type, enabled=False):
            maps = self.fpn({str(i): feature.float() for i, feature in enumerate(features)})
            truths = [_with_background(target) for target in targets or ()] if self.training else None
            proposals, losses = self.rpn(images, maps, truths)
            found, region_losses = self.roi_heads(maps, proposals, images.image_sizes, truths)
        if self.training:
            return region_losses | losses
        return [Detections(boxes=f["boxes"], scores=f["scores"], labels=f["labels"] - 1) for f in found]

    @classmethod
    def from_reference(cls, state_dict: Mapping[str, Tensor], finest_stride: int = 8) -> Self:
        """The detector out of a checkpoint of the paper's public code, in eval mode; sizes are read from the tensors.

        `state_dict` may be that of the whole model, under any outer prefix; its class 0 is the background. ValueError
        for a checkpoint without a detector.
        """
        weights = {f"{ours}{key}": value for ours, part in _parts(state_dict).items() for key, value in part.items()}
        try:
            channels = [weights[f"fpn.inner_blocks.{i}.0.weight"].shape[1] for i in range(_blocks(weights))]
            head = cls(
                [Level(width, finest_stride * 2**i) for i, width in enumerate(channels)],
                len(weights["roi_heads.box_predictor.cls_score.weight"]) - 1,
                fpn_channels=len(weights["fpn.inner_blocks.0.0.weight"]),
                representation_size=len(weights["roi_heads.box_head.fc6.weight"]),
            )
            head.load_state_dict(weights)
        except (KeyError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise ValueError(f"the checkpoint holds no complete detector of the public code: {reason}") from error
        return head.eval()

    def _frame(self, features: Sequence[Tensor], image_sizes: Sequence[tuple[int, int]] | None) -> ImageList:
        """What torchvision wants to know of the images: their sizes, and that of the padded frame."""
        check_channels(self, features)
        frames = {
            (feature.shape[-2] * level.stride, feature.shape[-1] * level.stride)
            for feature, level in zip(features, self.config.levels, strict=True)
        }
        if len(frames) > 1:
            raise ValueError(
                f"features of sizes {[tuple(feature.shape[-2:]) for feature in features]} do not fit strides "
                f"{[level.stride for level in self.config.levels]}; "
                f"pad the image to multiples of {self.config.levels[-1].stride}"
            )
        (frame,) = frames
        batch = features[0].shape[0]
        sizes = [tuple(size) for size in image_sizes] if image_sizes is not None else [frame] * batch
        return ImageList(features[0].new_empty(batch, 0, *frame), sizes)


_ANCHORS = {"fpn.": "inner_blocks.0.0.weight", "rpn.": "head.cls_logits.weight", "roi_heads.": "box_head.fc6.weight"}
"""{part: a key below it that no other part of a checkpoint has}."""


def _parts(state_dict: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """{part: its tensors by their names below it}."""
    found = {}
    for part, anchor in _ANCHORS.items():
        prefixes = [key.removesuffix(anchor) for key in state_dict if key == anchor or key.endswith(f".{anchor}")]
        if len(prefixes) != 1:
            raise ValueError(
                f"{len(prefixes)} keys end in {anchor!r}: expected one, as in a detector of the public code; "
                "pass its state dict"
            )
        found[part] = {k.removeprefix(prefixes[0]): v for k, v in state_dict.items() if k.startswith(prefixes[0])}
    return found


def _blocks(weights: Mapping[str, Tensor]) -> int:
    return sum(key.startswith("fpn.inner_blocks.") and key.endswith(".weight") for key in weights)


def _proposals(config: FasterRCNNHeadConfig) -> RegionProposalNetwork:
    sizes = tuple((config.anchor_cells * level.stride,) for level in config.levels)
    anchors = AnchorGenerator(sizes, (config.anchor_ratios,) * len(sizes))
    return RegionProposalNetwork(
        anchors,
        RPNHead(config.fpn_channels, len(config.anchor_ratios)),
        fg_iou_thresh=0.7,
        bg_iou_thresh=0.3,
        batch_size_per_image=256,
        positive_fraction=0.5,
        pre_nms_top_n={"training": 2000, "testing": 1000},
        post_nms_top_n={"training": 2000, "testing": 1000},
        nms_thresh=0.7,
    )


def _regions(config: FasterRCNNHeadConfig) -> RoIHeads:
    names = [str(i) for i in range(len(config.levels))]
    pool = MultiScaleRoIAlign(names, output_size=7, sampling_ratio=2)
    # Left alone, torchvision guesses both from the first batch it sees, wrongly where an image was padded a lot.
    strides = [level.stride for level in config.levels]
    pool.scales = [1 / stride for stride in strides]
    pool.map_levels = LevelMapper(strides[0].bit_length() - 1, strides[-1].bit_length() - 1)
    width = config.representation_size
    return RoIHeads(
        box_roi_pool=pool,
        box_head=TwoMLPHead(config.fpn_channels * 7 * 7, width),
        box_predictor=FastRCNNPredictor(width, config.num_classes + 1),
        fg_iou_thresh=0.5,
        bg_iou_thresh=0.5,
        batch_size_per_image=config.regions_per_image,
        positive_fraction=0.25,
        bbox_reg_weights=None,
        score_thresh=config.score_threshold,
        nms_thresh=config.nms_iou,
        detections_per_img=config.max_detections,
    )


def _with_background(target: DetectionTarget) -> dict[str, Tensor]:
    """Labels from 1, as torchvision counts them, with 0 for the background."""
    boxes = target["boxes"].as_subclass(Tensor).float()
    flat = ((boxes[:, 2:] <= boxes[:, :2]).any(dim=1)).nonzero()
    if len(flat):
        raise ValueError(f"box {boxes[int(flat[0])].tolist()} has no area: expected left < right and top < bottom")
    return {"boxes": boxes, "labels": target["labels"] + 1}
