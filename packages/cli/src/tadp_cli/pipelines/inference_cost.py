"""What a method takes for one image: parameters and multiply-adds, the captioner included (paper, Table 2)."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from tadp_backbone import Level
from tadp_backbone.summary import describe
from tadp_captioning.flops import captioner_costs
from tadp_cli.config.recipe import Recipe
from tadp_cli.pipelines.memory_estimate import SCENES_SIDE, class_count, context_length, meta_backbone
from tadp_heads.tasks import get_task

SHORTEST_CAPTION = 10
"""Tokens of a caption for which no minimum is asked; BLIP-2's have 8 words on average."""


class Costs(NamedTuple):
    """Of one square image of the recipe's size, by part: vae, unet, head, text_encoder, captioner."""

    parameters: dict[str, int]
    multiply_adds: dict[str, float]

    def total(self, *parts: str) -> tuple[int, float]:
        """(parameters, multiply-adds) of these parts, of all where none is named."""
        counted = [part for part in self.parameters | self.multiply_adds if not parts or part in parts]
        parameters = sum(self.parameters.get(part, 0) for part in counted)
        return parameters, sum(self.multiply_adds.get(part, 0.0) for part in counted)

    def __str__(self) -> str:
        (trained, _), (whole, operations) = self.total("unet", "head"), self.total()
        with_captioner = " and captioner" if "captioner" in self.parameters else ""
        return (
            f"{trained / 1e6:.0f} M parameters of UNet and head, {whole / 1e6:.0f} M with VAE, text encoder"
            f"{with_captioner}; {operations / 1e9:.0f} G multiply-adds per image"
        )


def costs_of(recipe: Recipe) -> Costs:
    """Counted on models without weights. Not for detection, whose head computes as much as it finds."""
    if recipe.task == "detection":
        raise ValueError("the arithmetic of detection depends on the regions found: no fixed costs")
    side, classes = recipe.train.size or SCENES_SIDE, class_count(recipe)
    backbone = meta_backbone(recipe, classes, context_length(recipe, classes))
    described = describe(backbone, side)
    parameters = dict(described.parameters)
    done = {part: 1e9 * gflops / 2 for part, gflops in described.gflops.items()}
    parameters["head"], done["head"] = _head(recipe, backbone.levels, classes, side)
    if recipe.kind.own_texts:
        done["text_encoder"] = _text_encoder(backbone.text_encoder)
    if recipe.needs_captions:
        length = max(recipe.data.min_tokens, SHORTEST_CAPTION)
        parameters["captioner"], done["captioner"] = captioner_costs(recipe.captioner, length)
    return Costs(parameters, done)


def _head(recipe: Recipe, levels: Sequence[Level], classes: int, side: int) -> tuple[int, float]:
    with torch.device("meta"), torch.no_grad():
        head = get_task(recipe.task).build_head(levels, ["class"] * classes, **recipe.head).eval()
        features = [torch.empty(1, channels, -(-side // stride), -(-side // stride)) for channels, stride in levels]
        with FlopCounterMode(display=False) as counter:
            head(tuple(features))
    return sum(p.numel() for p in head.parameters()), counter.get_total_flops() / 2


def _text_encoder(encoder: Any) -> float:
    length = encoder.config.max_position_embeddings
    ids = torch.zeros(1, length, dtype=torch.long, device=next(encoder.parameters()).device)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        encoder(input_ids=ids)
    return counter.get_total_flops() / 2
