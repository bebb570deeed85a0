"""A model as a folder or a repository of the hub: config.json, model.safetensors, README.md and backbone/."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from torch import Tensor, nn

from tadp_heads.atomic_files import write_json, write_text
from tadp_heads.data.errors import DataError
from tadp_heads.format_version import check_format
from tadp_heads.hub.card import CARD_NAME, CardDetails, model_card
from tadp_heads.hub.repository import local_folder, upload_folder
from tadp_heads.model_config import PerceptionConfig
from tadp_heads.plugins import BACKBONES, load_plugin, plugin_name
from tadp_heads.precision import in_float32
from tadp_heads.pretrained import (
    CONFIG_NAME,
    WEIGHTS_NAME,
    check_size,
    load_weights,
    read_config,
    read_json,
    save_weights,
    size_on_meta,
)
from tadp_heads.registered_head import is_recorded, rebuilt, settings_of
from tadp_heads.registry import get_task, head_name, heads_of
from tadp_heads.registry import head_class as class_of_head
from tadp_heads.schema import LARGEST_SIZE

FORMAT = 1
"""Of the folder that a model is saved to."""


class SavedModel(nn.Module):
    """The methods of `PerceptionModel` that read and write files."""

    backbone: Any
    head: nn.Module
    config: PerceptionConfig
    context: Tensor | None

    def __init__(self, backbone: Any, head: nn.Module, config: PerceptionConfig, context: Tensor | None = None):
        super().__init__()
        self.backbone, self.head, self.config = backbone, head, config
        self.register_buffer("context", context, persistent=False)

    def save_pretrained(self, folder: str | Path, details: CardDetails | None = None, *, bundle: bool = True) -> None:
        """Writes config.json, model.safetensors (head and fixed context), README.md and, by its own code, backbone/.

        `details`: further contents of the README.md, a model card. Without `bundle`, the published parts of a backbone
        with `save_reference` are saved as a reference.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        save = None if bundle else getattr(self.backbone, "save_reference", None)
        (save or self.backbone.save_pretrained)(folder / "backbone")
        save_weights(self._saved_part(), folder / WEIGHTS_NAME)
        write_text(folder / CARD_NAME, model_card(self.config, self.head, details))
        config = {
            **asdict(self.config),
            "backbone": plugin_name(BACKBONES, type(self.backbone)) or self.config.backbone,
        }
        context_shape = None if self.context is None else list(self.context.shape)
        write_json(
            folder / CONFIG_NAME,
            {
                "format": FORMAT,
                "model": config,
                "head": _head_config(config["task"], self.head),
                "context_shape": context_shape,
            },
        )

    def push_to_hub(self, repository: str, *, private: bool = False, details: CardDetails | None = None) -> str:
        """Upload what `save_pretrained` writes to a model repository of the hub; the address of the commit.

        Needs the extra `tadp-heads[hub]`. `private`: of a repository that is created.
        """
        details = replace(details or CardDetails(), repository=repository)
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder, details)
            return upload_folder(Path(folder), repository, private=private)

    @classmethod
    @in_float32()
    def from_pretrained(cls, folder: str | Path, backbone: Any = None, *, revision: str | None = None) -> Self:
        """The model that `save_pretrained` wrote, in eval mode; `backbone` None loads the one saved with it.

        `folder`: or a repository owner/name of the hub, at `revision`, a branch, tag or commit. Loaded strictly,
        without running code from the folder: DataError for files that are missing, damaged or of another config,
        ValueError for a format of a newer version, a task or plugin that is not there.
        """
        folder = local_folder(folder, revision=revision)
        path = folder / CONFIG_NAME
        values = read_json(path)
        check_format(values.get("format") if isinstance(values, dict) else None, FORMAT, path)
        parts = read_config(_SavedConfig, values, path)
        config = read_config(PerceptionConfig, parts.model, path)
        build = _head_builder(config.task, parts.head, path)
        check_size(size_on_meta(build) + math.prod(parts.context_shape or [0]), folder)
        head = build()
        if backbone is None:
            backbone = load_plugin(BACKBONES, config.backbone).from_pretrained(folder / "backbone")
        context = None if parts.context_shape is None else torch.zeros(parts.context_shape)
        model = cls(backbone, head, config, context)
        load_weights(model._saved_part(), folder / WEIGHTS_NAME)
        return model.eval()

    def _saved_part(self) -> nn.Module:
        """The tensors that model.safetensors holds; they are shared with this model, not copied."""
        part = nn.Module()
        part.head = self.head
        if self.context is not None:
            part.register_buffer("context", self.context)
        return part


@dataclass(frozen=True, kw_only=True)
class _SavedConfig:
    """The sections of config.json."""

    model: dict[str, Any]
    head: dict[str, Any]
    context_shape: list[int] | None
    format: int = 1

    def __post_init__(self) -> None:
        if self.context_shape is not None and not all(0 < size <= LARGEST_SIZE for size in self.context_shape):
            raise ValueError(f"context_shape {str(self.context_shape)[:80]}: expected sizes of 1 to {LARGEST_SIZE}")


def _head_config(task: str, head: Any) -> dict[str, Any]:
    """What a head is rebuilt from: its config; of a registered one its name and the arguments of its constructor."""
    settings = settings_of(head)
    return asdict(head.config) if settings is None else {"name": head_name(task, head), **settings}


def _head_builder(task: str, values: Mapping[str, Any], path: Path) -> Callable[[], nn.Module]:
    """What builds the head that `_head_config` wrote to `path`, with fresh weights."""
    if "name" not in values:
        head_class = get_task(task).head_class
        return partial(head_class.from_config, read_config(head_class.config_class, values, path))
    name, known = str(values["name"]), heads_of(task)
    if name not in known or not is_recorded(class_of_head(task, name)):
        raise DataError(
            path,
            found=f"the head {name[:80]!r}, which is not registered for {task}",
            expected="a registered head",
            fix="import the module that registers it, in a command by --plugin FILE",
        )
    settings = {key: value for key, value in values.items() if key != "name"}
    return partial(rebuilt, class_of_head(task, name), settings, path)
