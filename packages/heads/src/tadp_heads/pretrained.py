"""Saving and loading, the same for every head: a folder with config.json and model.safetensors, loaded strictly."""

import dataclasses
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self, get_type_hints

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tadp_heads.atomic_files import replacing, write_json
from tadp_heads.data.errors import DataError
from tadp_heads.hub.repository import local_folder
from tadp_heads.levels import Level
from tadp_heads.precision import in_float32
from tadp_heads.schema import fits, type_name

CONFIG_NAME = "config.json"
WEIGHTS_NAME = "model.safetensors"


class PretrainedHead(nn.Module):
    """A head that is rebuilt from its `config`; a subclass names its config class and writes `from_config`."""

    config_class: ClassVar[type]
    """Frozen dataclass of JSON-able values."""
    config: Any
    input_levels: tuple[Level, ...]
    """The feature levels that it reads, finest first."""

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """A head with fresh weights."""
        return cls(**{field.name: getattr(config, field.name) for field in dataclasses.fields(config)})

    @classmethod
    def size_of(cls, config: Any) -> int:
        """Numbers that `from_config` would hold in memory; none is allocated."""
        return size_on_meta(partial(cls.from_config, config))

    def save_pretrained(self, folder: str | Path) -> None:
        """Writes config.json and model.safetensors to `folder`, which is made when missing."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save_weights(self, folder / WEIGHTS_NAME)
        write_json(folder / CONFIG_NAME, dataclasses.asdict(self.config))

    @classmethod
    @in_float32()
    def from_pretrained(cls, folder: str | Path, *, revision: str | None = None) -> Self:
        """The head that `save_pretrained` wrote, in eval mode; `folder`: or a repository owner/name of the hub."""
        folder = local_folder(folder, revision=revision)
        config = read_config(cls.config_class, read_json(folder / CONFIG_NAME), folder / CONFIG_NAME)
        check_size(cls.size_of(config), folder)
        head = cls.from_config(config)
        load_weights(head, folder / WEIGHTS_NAME)
        return head.eval()


def size_on_meta(build: Callable[[], nn.Module]) -> int:
    """Numbers that the module would hold in memory; none is allocated."""
    with torch.device("meta"):
        return sum(tensor.numel() for tensor in build().state_dict().values())


def check_size(numbers: int, folder: Path) -> None:
    """Refuse a config that asks for more numbers than its weights file has bytes, before they are allocated."""
    weights = folder / WEIGHTS_NAME
    if weights.is_file() and numbers > weights.stat().st_size:
        read_safetensors(weights)  # a file that was cut short is named as that
        raise DataError(
            folder / CONFIG_NAME,
            found=f"sizes of {numbers:,} numbers",
            expected=f"those of {WEIGHTS_NAME}, which has {weights.stat().st_size:,} bytes",
            fix="use the config.json and model.safetensors of one and the same run",
        )


def save_weights(module: nn.Module, path: Path) -> None:
    """Writes the module's state dict as safetensors, atomically."""
    with replacing(path) as partial:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}, partial)


def load_weights(module: nn.Module, path: Path) -> None:
    """Loads safetensors strictly: the file's keys and shapes must be the module's own."""
    if not path.is_file():
        raise DataError(path, found="no file", expected="the weights of a head", fix="check the folder's name")
    tensors = read_safetensors(path)
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise DataError(
            path,
            found="other tensors than the config asks for (" + " ".join(str(error).split())[:200] + ")",
            expected=f"the weights of {type(module).__name__}",
            fix="use the config.json and model.safetensors of one and the same run",
        ) from error


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file by name; raises DataError when it is damaged."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(
            path,
            found=f"no complete .safetensors file ({error})",
            expected="tensors",
            fix="copy or make the file again",
        ) from error


def read_json(path: Path) -> Any:
    """Reads JSON; raises DataError when the file is missing or is not JSON."""
    if not path.is_file():
        raise DataError(path, found="no file", expected="a JSON file", fix="check the folder's name")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # also of bytes that are no UTF-8, and of numbers without end
        raise DataError(path, found=f"no valid JSON ({error})", expected="a JSON file", fix="write it again") from error


def read_config(config_class: type, values: Any, path: Path) -> Any:
    """Builds `config_class` from JSON `values`; unknown and missing keys are errors."""
    known = {field.name for field in dataclasses.fields(config_class)}
    required = {
        field.name
        for field in dataclasses.fields(config_class)
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    if not isinstance(values, dict) or not required <= set(values) <= known:
        found = f"keys {sorted(values)}" if isinstance(values, dict) else type(values).__name__
        raise DataError(
            path,
            found=found,
            expected=f"the keys of {config_class.__name__}: {sorted(known)}",
            fix="use the file that save_pretrained wrote",
        )
    hints = get_type_hints(config_class)
    for name, value in values.items():
        if not fits(value, hints[name]):
            raise DataError(
                path,
                found=f"{name} {str(value)[:80]!r}",
                expected=type_name(hints[name]),
                fix="use the file as it was saved",
            )
    try:
        return config_class(**values)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise DataError(path, found=str(error), expected="a config that was saved", fix="use it as it was") from error
