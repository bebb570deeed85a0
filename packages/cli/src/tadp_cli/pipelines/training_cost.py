"""What a recipe's training takes on one GPU, estimated without its weights or data."""

from collections.abc import Callable
from typing import NamedTuple

from tadp_cli.config.recipe import Recipe
from tadp_cli.pipelines.memory_estimate import class_count, context_length, estimated_bytes, estimated_flops

FLOPS = {"fp32": 74e12, "bf16": 167e12}
"""{precision: operations per second}: measured on an H100 in forward passes of 16 images of 512 pixels; in fp32 with
torch's default TF32 convolutions."""
PASS_SECONDS = {"fp32": 0.14, "bf16": 0.16}
"""{precision: seconds that a pass forward and backward takes at least}: measured there with 2 images, where launching
kernels takes longer than computing."""


class TrainingCost(NamedTuple):
    """An estimate for one precision."""

    memory: float
    """Bytes of GPU memory."""
    hours: float
    """Of training alone: captioning and evaluation are left out."""


class TrainingCosts:
    """Estimates what is asked for; recipes whose steps take the same are estimated once."""

    def __init__(self) -> None:
        self._known: dict[tuple[Callable[..., float], str], float] = {}

    def of(self, recipe: Recipe, precision: str) -> TrainingCost:
        """The recipe's training in a precision of FLOPS, all else as the recipe has it."""
        train = recipe.train
        flops = train.batch_size * self._once(estimated_flops, recipe.replace(**{"train.precision": "fp32"}))
        seconds = max(PASS_SECONDS[precision], flops / FLOPS[precision])
        memory = self._once(estimated_bytes, recipe.replace(**{"train.precision": precision}))
        return TrainingCost(memory, train.steps * train.accumulate * seconds / 3600)

    def _once(self, estimate: Callable[[Recipe, int, int], float], recipe: Recipe) -> float:
        classes, train = class_count(recipe), recipe.train
        tokens = context_length(recipe, classes)
        step = (train.batch_size, train.accumulate > 1, train.size, train.gradient_checkpointing, train.precision)
        learned = (train.unet_lr_scale > 0, train.ema > 0)
        key = estimate, repr((recipe.task, recipe.backbone, recipe.head, classes, tokens, step, learned))
        if key not in self._known:
            self._known[key] = estimate(recipe, classes, tokens)
        return self._known[key]
