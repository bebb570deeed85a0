"""How a head, and with it the backbone, trains: the settings `[train]` of a recipe."""

from dataclasses import dataclass

from tadp_heads.schema import MOST_FACTOR, MOST_HELD, MOST_RATE, above_0, at_least, one_of
from tadp_heads.training.tracking.trackers import TRACKERS

SCHEDULES = ("constant", "poly", "cosine", "poly-mmcv", "rise-fall")
"""After a linear warm-up: constant; poly, (1 - x)^power, and cosine, both to min_lr. poly-mmcv: poly over all steps and
the warm-up a factor on it (mmcv). rise-fall: from min_lr to the peak and back, each in `warmup` steps (NYUv2)."""
GROUPS = ("plain", "norms-apart", "vectors-undecayed")
"""plain: one weight decay for all. norms-apart: the norms of the UNet's transformers at the head's rate and without
decay (the reference on mmsegmentation and on Pascal). vectors-undecayed: no decay for biases and all that has one
dimension (the reference for NYUv2)."""
PRECISIONS = ("auto", "fp32", "tf32", "bf16", "fp16")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Settings of a training run; a value out of range raises ValueError."""

    steps: int = 500
    """Optimizer steps."""
    batch_size: int = 16
    """Images of a micro-batch; several processes share it, or the micro-batches of `accumulate`."""
    accumulate: int = 1
    """Micro-batches per optimizer step, over all processes: the effective batch size is batch_size x accumulate."""
    lr: float = 1e-3
    """Peak learning rate of the head."""
    unet_lr_scale: float = 0.1
    """Ratio of the UNet's learning rate to the head's; 0 freezes it, and its features are computed once."""
    weight_decay: float = 0.005
    """Decoupled weight decay of AdamW."""
    groups: str = "plain"
    """Parameter groups with their own learning rate or weight decay, in addition to the UNet's scale: one of GROUPS."""
    betas: tuple[float, ...] = (0.9, 0.999)
    """AdamW's decay rates of the gradient's first and second moments."""
    warmup: int = 25
    """Steps of linear warm-up; for rise-fall the steps up to the peak."""
    schedule: str = "poly"
    """One of SCHEDULES."""
    power: float = 1.0
    """Exponent of poly, poly-mmcv and rise-fall."""
    min_lr: float = 0.0
    """Final learning rate of the head in poly, poly-mmcv, cosine and rise-fall; of rise-fall also the initial one."""
    clip: float = 0.0
    """Maximum gradient norm; 0: no clipping, as in the reference."""
    ema: float = 0.0
    """Decay of an exponential moving average of the trained parameters, which is evaluated and saved; 0: none."""
    freeze: tuple[str, ...] = ()
    """Patterns of frozen parameters' names, such as unet.down_blocks.* or head.neck.*."""
    lora_rank: int = 0
    """Rank of LoRA updates of the UNet's attention, trained instead of all its weights and merged when saved.
    0: all weights."""
    precision: str = "fp32"
    """One of PRECISIONS, for forward and backward passes; weights and optimizer state stay float32. auto: bf16 where
    the device computes in it (GPUs from Ampere on, CPUs with AMX or AVX512-BF16), else fp32; `tadp train` decides, and
    the run records which. `fit` called directly treats auto and tf32 as fp32."""
    gradient_checkpointing: bool = False
    """Recompute the UNet's activations in the backward pass: less memory, a third more computation."""
    shard: bool = False
    """Shard trained parameters, gradients and optimizer state over processes (FSDP) instead of replicating them (DDP):
    less memory, more communication. No effect with one process."""
    flip: bool = True
    """Mirror half of the images, where no transform does."""
    transform: str = ""
    """Augmentation and cropping of training images: a name of the task's `train_transforms`, such as user or ade.
    Empty: none, for images of one size."""
    size: int = 0
    """Crop size of the transform, in pixels."""
    cache: str = ""
    """Folder in which embeddings of texts, and with `crops` latents of images, are kept over steps and runs."""
    features_gb: float = 2.0
    """Gigabytes that the features of a frozen backbone may take on disk, where no transform varies the images: in
    `cache`/features, of which the oldest go at this limit, or in the run until it ends. A resumed run reads them, with
    `cache` another run on the same images too. Of more images they are computed at every step. 0: none on disk."""
    crops: int = 0
    """Varied and framed versions of an image that are made and encoded by the VAE, once and for all; each step takes
    one of them. 0: a new version is made and encoded at every step."""
    workers: int = 0
    """Processes that read images, at most as many as there are processors; results don't depend on it."""
    save_every: int = 200
    """Steps between two states to resume from."""
    keep: int = 1
    """How many of the last states stay."""
    eval_every: int = 0
    """Steps between two evaluations of the validation split; `tadp train` keeps the best model so far in RUN/best. 0:
    only at the end."""
    log_with: tuple[str, ...] = ()
    """Experiment trackers that record the run, such as tensorboard, wandb or trackio: some of TRACKERS. TensorBoard
    writes to RUN/tracking."""
    seed: int = 0
    """Of the head's first weights, the order of images and every random choice."""

    def __post_init__(self) -> None:
        one_of("train.schedule", self.schedule, SCHEDULES)
        one_of("train.groups", self.groups, GROUPS)
        one_of("train.precision", self.precision, PRECISIONS)
        for tracker in self.log_with:
            one_of("tracker in train.log_with", tracker, TRACKERS)
        for name in ("steps", "save_every", "keep"):
            at_least(f"train.{name}", getattr(self, name), 1)
        for name in ("batch_size", "accumulate"):
            at_least(f"train.{name}", getattr(self, name), 1, MOST_HELD)
        for name in ("workers", "crops", "lora_rank", "size"):
            at_least(f"train.{name}", getattr(self, name), 0, MOST_HELD)
        for name in ("warmup", "eval_every", "clip"):
            at_least(f"train.{name}", getattr(self, name), 0)
        for name in ("weight_decay", "unet_lr_scale", "power", "features_gb"):
            at_least(f"train.{name}", getattr(self, name), 0, MOST_FACTOR)
        above_0("train.lr", self.lr, MOST_RATE)
        if not 0 <= self.ema < 1:
            raise ValueError(f"train.ema is {self.ema}, expected at least 0 and below 1")
        if len(self.betas) != 2 or not all(0 <= beta < 1 for beta in self.betas):
            raise ValueError(f"train.betas is {list(self.betas)}, expected two numbers of [0, 1), e.g. [0.9, 0.999]")
        if not 0 <= self.min_lr <= self.lr:
            raise ValueError(f"train.min_lr is {self.min_lr}, expected 0 to train.lr, which is {self.lr}")
        if self.schedule == "rise-fall" and self.warmup < 1:
            raise ValueError("train.schedule 'rise-fall' needs train.warmup, the steps up to the peak")
        if self.unet_lr_scale == 0 and self.lora_rank:
            raise ValueError("train.lora_rank needs a UNet that trains: train.unet_lr_scale above 0")
        if self.crops and not self.cache:
            raise ValueError("train.crops needs train.cache, the folder for the encoded crops")

    @property
    def mirrors(self) -> bool:
        """Whether it is training itself that mirrors images; a transform does so by its own rules."""
        return self.flip and not self.transform

    @property
    def effective_batch(self) -> int:
        """Images that one step sees."""
        return self.batch_size * self.accumulate
