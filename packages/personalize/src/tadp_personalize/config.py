"""Settings of the training loop and of the two methods."""

import math
from dataclasses import dataclass
from typing import Literal

from tadp_personalize.prompts import STYLE_TEMPLATES, check_template
from tadp_personalize.training.trackers import TRACKERS

SCHEDULES = ("constant", "linear", "cosine")
PRECISIONS = ("no", "fp16", "bf16")
CROPS = ("center", "random", "squash")

_MOST_HELD = 10**5
"""Of what is held in memory at once."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfig:
    """What the one training loop needs to know, whatever trains."""

    steps: int
    """Updates of the weights."""
    learning_rate: float
    """Peak learning rate of AdamW; not scaled by batch size or number of processes."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """Learning rate after the warm-up: constant, or falling to 0 at the last step."""
    warmup: int = 0
    """Updates over which the learning rate rises linearly from 0."""
    batch_size: int = 1
    """Samples of one forward pass on one process; an image may occur several times, with other time steps and noise."""
    accumulate: int = 1
    """Forward passes whose gradients are averaged into one update."""
    weight_decay: float = 1e-2
    """Decoupled weight decay of AdamW on the trained parameters only."""
    max_grad_norm: float | None = 1.0
    """Gradients are scaled down to this Euclidean norm; None leaves them."""
    templates: tuple[str, ...] = STYLE_TEMPLATES
    """Sentences of the training prompts, see `prompts`."""
    flip: float = 0.5
    """Probability of mirroring an image left to right."""
    crop: Literal["center", "random", "squash"] = "center"
    """Which square of the image is taken after its shorter side was resized to the model's size; squash: all of the
    image, each side resized to the model's size."""
    cache_latents: bool = False
    """Encode each image (and its mirror image) once and draw from the kept posterior; not with crop="random"."""
    stratified: bool = False
    """Spread a batch's time steps evenly over the whole range (each still uniform): less noisy gradients."""
    gradient_checkpointing: bool = False
    """Recompute the UNet's activations in the backward pass: less memory, about a third more time."""
    mixed_precision: Literal["no", "fp16", "bf16"] = "no"
    """Precision of the forward pass; trained parameters stay in float32."""
    cpu: bool = False
    """Train on the CPU although there is an accelerator."""
    save_every: int = 500
    """Updates between two states on disk to resume from; the last one is always saved."""
    sample_every: int = 0
    """Updates between two sheets of sample images; 0 draws none, the final grid neither."""
    held_out_timesteps: int = 8
    """Time steps, evenly spread, at which the held-out loss of each image is taken."""
    log_with: tuple[str, ...] = ()
    """Experiment trackers that record loss, held-out loss and sample sheets, such as tensorboard, wandb or trackio."""
    seed: int = 0
    """Decides every draw: the k-th batch is a function of the seed and k alone."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulate", "save_every", "held_out_timesteps"):
            _at_least(name, getattr(self, name), 1)
        for name in ("warmup", "weight_decay", "sample_every"):
            _at_least(name, getattr(self, name), 0)
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate must be above 0 and finite, not {self.learning_rate}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability in [0, 1], not {self.flip}")
        _one_of("schedule", self.schedule, SCHEDULES)
        _one_of("mixed_precision", self.mixed_precision, PRECISIONS)
        _one_of("crop", self.crop, CROPS)
        if self.cache_latents and self.crop == "random":
            raise ValueError("cache_latents=True keeps one crop per image: use another crop, or cache_latents=False")
        for tracker in self.log_with:
            _one_of("tracker in log_with", tracker, TRACKERS)
        if not self.templates:
            raise ValueError("templates must name at least one sentence")
        for template in self.templates:
            check_template(template)


@dataclass(frozen=True, kw_only=True)
class TextualInversionConfig(TrainingConfig):
    """Settings of Textual Inversion; the defaults are the paper's Table S4d."""

    steps: int = 3000
    learning_rate: float = 5e-4
    accumulate: int = 4
    vectors: int = 1
    """Rows of the embedding that make up the token."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("vectors", self.vectors, 1, _MOST_HELD)


@dataclass(frozen=True, kw_only=True)
class LoraConfig:
    """Low-rank updates W + alpha / rank * B A of the attention's linear layers."""

    rank: int = 8
    alpha: float = 8.0
    unet_targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")
    """Endings of the names of the UNet's layers that get one."""
    text_targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "out_proj")
    """The same for the text encoder, when it trains."""

    def __post_init__(self) -> None:
        _at_least("rank", self.rank, 1, _MOST_HELD)


@dataclass(frozen=True, kw_only=True)
class DreamBoothConfig(TrainingConfig):
    """Settings of DreamBooth; the defaults are the paper's Table S4c, without the prior loss that its code left off."""

    steps: int = 1000
    learning_rate: float = 5e-6
    lora: LoraConfig | None = None
    """None trains the UNet's own weights, a LoraConfig only low-rank updates."""
    unet_layers: tuple[str, ...] | None = None
    """Endings of the names of the UNet's layers that train, without a LoRA; None: all of them. ("attn2.to_k",
    "attn2.to_v") trains only what the words mean (Kumari et al. 2023, section 3.1), which few images spoil least."""
    train_text_encoder: bool = False
    """Train the text encoder too, in the same way as the UNet."""
    class_images: int = 0
    """Images of `class_prompt` drawn by the untouched model for the prior-preservation loss; 0: no prior loss."""
    class_prompt: str = "a picture"
    """What the class images show: the domain's sentence without the token."""
    prior_weight: float = 1.0
    """Weight of the prior-preservation loss relative to the loss on the target images."""
    adam_8bit: bool = False
    """Keep AdamW's moments in 8 bits; needs bitsandbytes and a GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("class_images", self.class_images, 0)
        _at_least("prior_weight", self.prior_weight, 0)


def _at_least(name: str, value: float, least: float, most: float = 10**8) -> None:
    if not value >= least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
    if value > most:
        raise ValueError(f"{name} must be at most {most}, not {value}")


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")
