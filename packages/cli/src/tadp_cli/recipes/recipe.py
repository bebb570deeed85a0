"""A recipe: everything that decides a training run, typed, read from TOML."""

import dataclasses
import json
import tomllib
import types
import typing
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

PROMPTS = ("empty", "class-names", "class-embs", "averaged-eos", "caption", "oracle")
MODIFIERS = ("null", "simple", "textual-inversion", "dreambooth", "nearby", "unrelated")
TASKS = ("segmentation", "depth", "detection")
SCHEDULES = ("constant", "poly", "cosine")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    folder: str = ""
    """A data set in one of the user layouts, or NAME:FOLDER of `tadp data list`; `--data` sets it."""
    train: str = "train"
    """Name of the split that is trained on."""
    val: str = "val"
    """Name of the split that is scored after training."""
    captions: str = ""
    """File of captions, for the prompt "caption"; without one the captioner writes them into the run."""
    captioner: str = ""
    """Who captions what has no caption; empty: tiny for the backbone tiny, else blip2."""


@dataclass(frozen=True, kw_only=True)
class PromptConfig:
    kind: str = "caption"
    """One of PROMPTS (paper 4.1-4.2)."""
    modifier: str = "null"
    """One of MODIFIERS (paper 4.3), applied in training and in testing."""
    domain: str = ""
    """The target domain, for every modifier but null."""
    token: str = ""
    """The learnt token as prompts write it; empty: the domain's own."""
    token_file: str = ""
    """learned_embeds.safetensors of Textual Inversion."""


@dataclass(frozen=True, kw_only=True)
class BackboneSection:
    source: str = "tiny"
    """Whatever `DiffusionBackbone.from_pretrained` takes."""
    unet: str = ""
    """Folder of a UNet to put in its place (DreamBooth)."""
    timestep: int = 1
    """REFERENCE.md section 0: the code reads features at t = 1, the paper writes 0."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    steps: int = 500
    batch_size: int = 16
    lr: float = 1e-3
    """Peak learning rate of the head."""
    unet_lr_scale: float = 0.1
    """The UNet's learning rate in terms of the head's; 0 freezes it, and its features are computed once."""
    weight_decay: float = 0.005
    warmup: int = 25
    """Steps of linear warm-up."""
    schedule: str = "poly"
    """After the warm-up: constant, poly (power 1, to 0) or cosine (to 0)."""
    clip: float = 0.0
    """Largest norm of the gradient; 0: no clipping, as in the reference."""
    flip: bool = True
    """Mirror half of the images, where no transform does."""
    transform: str = ""
    """How training images are varied and framed: a name of the task's `train_transforms`, such as user or ade. Empty:
    as they are, all of one size."""
    size: int = 0
    """Side in pixels of the squares that the transform makes."""
    save_every: int = 200
    """Steps between two states to resume from."""
    seed: int = 0

    @property
    def mirrors(self) -> bool:
        """Whether it is training itself that mirrors images; a transform does so by its own rules."""
        return self.flip and not self.transform


@dataclass(frozen=True, kw_only=True)
class Recipe:
    task: str = "segmentation"
    description: str = ""
    data: DataConfig = field(default_factory=DataConfig)
    prompt: PromptConfig = field(default_factory=PromptConfig)
    backbone: BackboneSection = field(default_factory=BackboneSection)
    head: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the task's head."""
    protocol: str = ""
    """How images are predicted and scored; empty: the task's first protocol."""
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self):
        _one_of("task", self.task, TASKS)
        _one_of("prompt.kind", self.prompt.kind, PROMPTS)
        _one_of("prompt.modifier", self.prompt.modifier, MODIFIERS)
        _one_of("train.schedule", self.train.schedule, SCHEDULES)
        for name in ("steps", "batch_size", "save_every"):
            if getattr(self.train, name) < 1:
                raise ValueError(f"train.{name} is {getattr(self.train, name)}, expected at least 1")
        if self.prompt.modifier != "null" and not self.prompt.domain:
            raise ValueError(f"prompt.modifier {self.prompt.modifier!r} needs prompt.domain, e.g. watercolor")
        if self.prompt.modifier == "textual-inversion" and not self.prompt.token_file:
            raise ValueError("prompt.modifier 'textual-inversion' needs prompt.token_file; `tadp personalize` makes it")

    @property
    def captioner(self) -> str:
        """Name of the captioner for images without a caption."""
        return self.data.captioner or ("tiny" if self.backbone.source == "tiny" else "blip2")

    def replace(self, **changes: Any) -> "Recipe":
        """The recipe with settings replaced by their dotted names: `replace(**{"train.steps": 10})`."""
        tree = dataclasses.asdict(self)
        for name, value in changes.items():
            _put(tree, name, value)
        return _build(Recipe, tree, "recipe")

    def to_toml(self) -> str:
        """TOML that `load_recipe` reads back."""
        lines, sections = [], []
        for name, value in dataclasses.asdict(self).items():
            if isinstance(value, dict):
                sections += [f"\n[{name}]", *(f"{key} = {_toml(item)}" for key, item in value.items())]
            else:
                lines.append(f"{name} = {_toml(value)}")
        return "\n".join([*lines, *sections]) + "\n"


def load_recipe(name: str | Path, settings: tuple[str, ...] = ()) -> Recipe:
    """A shipped recipe by name or any TOML file; `settings` are "key=value" with dotted keys, values as in TOML."""
    path = Path(name)
    if not path.suffix and str(name) in shipped_recipes():
        text, where = shipped_recipes()[str(name)].read_text(), f"recipe {name}"
    elif path.is_file():
        text, where = path.read_text(), str(path)
    else:
        raise ValueError(f"unknown recipe {str(name)!r}: expected a TOML file or one of {', '.join(shipped_recipes())}")
    try:
        tree = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{where}: {error}; correct the TOML") from error
    for setting in settings:
        key, found, value = setting.partition("=")
        if not found:
            raise ValueError(f"--set {setting!r}: expected key=value, e.g. train.steps=100")
        _put(tree, key.strip(), _parse(value.strip()))
    return _build(Recipe, tree, where)


def shipped_recipes() -> dict[str, Any]:
    """{name: file} of the recipes inside the package."""
    folder = files("tadp_cli.recipes")
    return {f.name.removesuffix(".toml"): f for f in sorted(folder.iterdir(), key=str) if f.name.endswith(".toml")}


def _put(tree: dict, name: str, value: Any) -> None:
    *sections, key = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ValueError(f"setting {name!r}: {section!r} is no section")
    tree[key] = value


def _parse(value: str) -> Any:
    """A TOML value; what is none is taken as a string, so that quotes may be left out."""
    try:
        return tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        return value


def _build(cls: type, tree: dict, where: str) -> Any:
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(tree) - set(hints))
    if unknown:
        raise ValueError(f"{where}: unknown setting {unknown[0]!r}; choose from {', '.join(hints)}")
    values = {}
    for name, value in tree.items():
        expected = hints[name]
        if dataclasses.is_dataclass(expected):
            values[name] = _build(expected, _checked(value, dict, f"{where}: {name}"), f"{where}: {name}")
        else:
            values[name] = _checked(value, expected, f"{where}: {name}")
    try:
        return cls(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error


def _checked(value: Any, expected: Any, where: str) -> Any:
    kind = typing.get_origin(expected) or expected
    if kind is float and type(value) is int:
        return float(value)
    if isinstance(kind, types.GenericAlias) or not isinstance(value, kind) or (kind is int and type(value) is bool):
        raise ValueError(f"{where} is {value!r}, expected {getattr(kind, '__name__', kind)}")
    return value


def _one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"unknown {name} {value!r}; choose from {', '.join(choices)}")


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # JSON strings are TOML strings
    return str(value)
