"""Memory and arithmetic of a recipe's training step, estimated without its weights, its data or a GPU."""

# B batch, T tokens, D width of the context, K classes

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tadp_backbone import BACKBONES, load_backbone
from tadp_backbone.inputs import has_pooled_row, padded_size
from tadp_backbone.summary import untrained
from tadp_backbone.vision.summary import untrained_vision
from tadp_backbone.vision.table import is_vision
from tadp_cli.config.recipe import Recipe
from tadp_cli.pipelines.train import backbone_settings
from tadp_heads.data.registry import split_name
from tadp_heads.data.sample import DetectionTarget
from tadp_heads.depth.task import depth_of
from tadp_heads.tasks import get_task
from tadp_heads.training.memory.meta_attention import fused_attention
from tadp_heads.training.memory.meta_autocast import meta_autocast
from tadp_heads.training.memory.probe import DTYPES, OVERHEAD, WORKSPACES, arriving
from tadp_heads.training.memory.tracker import LiveBytes, weight_bytes

CLASSES = {"voc2012": 21, "ade20k": 150, "cityscapes": 19, "nyuv2": 1}
"""Of the recipes' data sets, for where the data itself is missing; those of detection have VOC's 20."""
_VOC_CLASSES, _SCENES_CLASSES = 20, 13
_CLIP_LENGTH = 77
SCENES_SIDE = 64
"""Pixels of the images of recipes without a transform: those of Scenes."""
_BOXES = 8
"""Objects assumed per image."""


def estimated_bytes(recipe: Recipe, classes: int, tokens: int) -> float:
    """Of one process on one device: weights, gradients, AdamW's moments and activations; about 10 % from measured.

    `classes`: of the data; `tokens`: of a context. The backbone is built on the meta device, which has no values, so
    that nothing is computed; the head of detection, which chooses regions by their scores, runs on the CPU.
    """
    config, step = recipe.train, _Step(recipe, classes, tokens)
    backbone, head = step.backbone, step.head
    known = [*backbone.parameters(), *backbone.buffers(), *head.parameters(), *head.buffers()]
    known += [tensor for tensor in step.inputs if tensor is not None]
    with LiveBytes(known) as counted, fused_attention(), meta_autocast(DTYPES[config.precision]):
        step.run()
    trained = sum(p.numel() * p.element_size() for m in (backbone, head) for p in m.parameters() if p.requires_grad)
    summed = trained if config.accumulate > 1 else 0  # gradients of the passes before
    fixed = weight_bytes(backbone) + weight_bytes(head) + (3 if config.ema else 2) * trained + OVERHEAD
    return fixed + WORKSPACES * max(counted.peak, summed)


def estimated_flops(recipe: Recipe, classes: int, tokens: int) -> float:
    """Floating-point operations for one image, forward and backward and what checkpointing runs again; a multiply-add
    is two. Text encoder and optimizer are left out: below 1 %."""
    with FlopCounterMode(display=False) as counter:
        _Step(recipe.replace(**{"train.batch_size": 1, "train.precision": "fp32"}), classes, tokens).run()
    return counter.get_total_flops()


class _Step:
    """A pass forward and backward without values."""

    def __init__(self, recipe: Recipe, classes: int, tokens: int):
        self.recipe, self.classes, config = recipe, classes, recipe.train
        self.backbone = backbone = meta_backbone(recipe, classes, tokens).train()
        self.side = config.size or SCENES_SIDE
        size = padded_size((self.side, self.side), backbone.levels[-1].stride)
        self.inputs = (
            torch.empty(config.batch_size, 3, *size, device="meta"),
            _context(backbone, config.batch_size, tokens),
        )
        with torch.device("cpu" if recipe.task == "detection" else "meta"):
            self.head = get_task(recipe.task).build_head(backbone.levels, ["class"] * classes, **recipe.head).train()
        if config.unet_lr_scale == 0:
            backbone.freeze()
        if config.gradient_checkpointing:
            backbone.checkpoint_gradients(True)

    def run(self) -> None:
        with _autocast(self.recipe.train.precision):
            levels = list(self.backbone(*self.inputs).levels)
            _loss(self.recipe, self.head, levels, self.classes, self.side).float().backward()


def class_count(recipe: Recipe) -> int:
    """Of the recipe's data set by its name; a folder of the user's own counts as Scenes."""
    name = split_name(recipe.data.folder)[0]
    return _SCENES_CLASSES if name is None else CLASSES.get(name, _VOC_CLASSES)


def context_length(recipe: Recipe, classes: int) -> int:
    """Tokens of a context: a text's 77, or those that the kind of prompt has."""
    return recipe.kind.tokens(recipe.prompt, classes) or _CLIP_LENGTH


def meta_backbone(recipe: Recipe, classes: int, tokens: int) -> Any:
    """The recipe's backbone without weights or memory, for data of so many classes and contexts of so many tokens."""
    settings = backbone_settings(recipe)
    if recipe.backbone.map_index != "token":
        names = recipe.backbone.map_words or [f"class {label}" for label in range(classes)]
        settings["class_words"] = tuple((name,) for name in names)
    source, vae = recipe.backbone.source, recipe.backbone.vae or None
    if is_vision(source):
        return untrained_vision(source, **settings)
    settings["num_tokens"] = tokens
    entry = BACKBONES.get(source)
    if entry is None or not entry.unet:
        return load_backbone(source, vae=vae, **settings).to("meta")
    return untrained(source, vae=vae, config=replace(entry.config, **settings), device="meta").to("meta")


def _context(backbone: Any, batch: int, tokens: int) -> Tensor | None:
    """(B, T, D), and behind them a column per class where maps are per class; what a vision transformer takes."""
    if not hasattr(backbone, "unet"):
        return backbone.blank_context(batch)
    columns, rows = len(backbone.config.class_words), tokens + has_pooled_row(backbone.unet)
    return torch.empty(batch, rows, backbone.unet.config.cross_attention_dim + columns, device="meta")


def _loss(recipe: Recipe, head: nn.Module, levels: list[Tensor], classes: int, side: int) -> Tensor:
    task, batch = get_task(recipe.task), len(levels[0])
    if recipe.task == "segmentation":
        targets = [torch.empty(side, side, dtype=torch.long, device="meta")] * batch
        return task.loss(head, levels, targets, (side, side), **recipe.loss)
    if recipe.task == "depth":  # its loss chooses pixels by their values; compared with the activations it is nothing
        return depth_of(head, levels, (side, side)).sum()
    corner = torch.rand(_BOXES, 2) * side / 2
    boxes = torch.cat((corner, corner + side / 4), 1)
    labels = torch.arange(_BOXES) % classes
    target = DetectionTarget(boxes=boxes, labels=labels, difficult=torch.zeros(_BOXES, dtype=torch.bool))
    return task.loss(head, [arriving(level) for level in levels], [target] * batch, (side, side), **recipe.loss)


def _autocast(precision: str) -> torch.autocast:
    half = DTYPES[precision] != torch.float32
    return torch.autocast("cpu", dtype=DTYPES[precision] if half else None, enabled=half)
