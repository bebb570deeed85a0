"""`PerceptionConfig`: what turns a backbone and a head into a predictor."""

from dataclasses import dataclass, field
from typing import Any

from tadp_heads.data.palette import Color, default_palette
from tadp_heads.preprocessing import RANGES
from tadp_heads.registry import TASKS, get_task

CAPTION_SLOT = "{caption}"


@dataclass(frozen=True, kw_only=True)
class PerceptionConfig:
    """What turns a backbone and a head into a predictor; ValueError for an unknown task, protocol or range."""

    task: str
    """"segmentation", "depth", "detection" or a registered one."""
    classes: tuple[str, ...] = ()
    """Names by id; empty for depth."""
    palette: tuple[Color, ...] = ()
    """One RGB colour per class; (): Pascal VOC's colours."""
    prompt: str = CAPTION_SLOT
    """The text of an image; "{caption}" in it stands for the image's caption. Without it, all images get this text."""
    captioner: str | None = None
    """Name for the captioner that writes missing captions; None: they must be given."""
    captioning: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the captioner, such as min_new_tokens, with which the captions in training were written."""
    prompter: dict[str, Any] | None = None
    """Of a prompt that a template alone does not give: under "plugin" the name of its builder among the plugins
    "tadp.prompters", and the builder's settings. None: `prompt` gives it."""
    protocol: str | None = None
    """How images are predicted; None: the task's first protocol."""
    image_range: str = "sd"
    """"sd": [-1, 1]; "imagenet": standardised, as the public code does for Cityscapes and detection."""
    backbone: str = "diffusion"
    """Name of the backbone's class among the plugins "tadp.backbones"."""
    seed: int = 0
    """Of what a prediction draws, for a backbone that samples the posterior or adds noise."""

    def __post_init__(self) -> None:
        TASKS.check(self.task)
        if self.image_range not in RANGES:
            raise ValueError(f"unknown image_range {self.image_range!r}; choose from {', '.join(RANGES)}")
        classes = tuple(self.classes)
        palette = tuple((red, green, blue) for red, green, blue in self.palette or default_palette(classes))
        if len(palette) != len(classes):
            raise ValueError(f"{len(palette)} colours for {len(classes)} classes: expected one colour per class")
        if self.protocol is not None and self.protocol not in get_task(self.task).protocols:
            known = ", ".join(get_task(self.task).protocols)
            raise ValueError(f"unknown {self.task} protocol {self.protocol!r}; choose from {known}")
        object.__setattr__(self, "classes", classes)
        object.__setattr__(self, "palette", palette)

    @property
    def needs_caption(self) -> bool:
        """Whether each image has a text of its own."""
        return CAPTION_SLOT in self.prompt
