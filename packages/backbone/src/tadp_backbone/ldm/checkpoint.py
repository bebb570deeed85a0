"""Reads one-file checkpoints safely, and says what a file is when it is not the one wanted."""

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .._read_errors import reading
from ..io.files import read_safetensors

_LOOKS = (
    (("conditioner.embedders.",), "a Stable Diffusion XL checkpoint"),
    (("model.diffusion_model.double_blocks.", "double_blocks."), "a Flux checkpoint"),
    (("model.diffusion_model.", "model_ema."), "a Stable Diffusion checkpoint of one file"),
    (("lora_unet_", "lora_te_", "unet.down_blocks.", "base_model.model."), "a LoRA"),
    (("down_blocks.", "conv_in."), "a diffusers UNet"),
    (("input_blocks.",), "an LDM UNet"),
    (("encoder.", "first_stage_model."), "a VAE"),
    (("emb_params", "string_to_param"), "a learned token (Textual Inversion)"),
    (("text_model.", "cond_stage_model."), "a CLIP text encoder"),
)
_WRAPPERS = ("state_dict", "model")
"""Names under which training frameworks put the tensors."""


class _Inert:
    """A placeholder for objects that training frameworks store with the tensors; ignores its arguments."""

    def __init__(self, *args: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


# Lightning: the states of callbacks under their classes (sd-v1-x .ckpt), hyper-parameters. mmcv: the best metric, a
# scalar of NumPy, in the file's meta data. Depth code after GLPDepth: the command's arguments.
_HARMLESS = [
    (OrderedDict, "pytorch_lightning.utilities.parsing.AttributeDict"),
    *(
        (_Inert, name)
        for name in (
            "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint",
            "pytorch_lightning.utilities.argparse._gpus_arg_default",
            "argparse.Namespace",
            "numpy.dtype",
            "numpy.core.multiarray.scalar",
            "numpy._core.multiarray.scalar",
        )
    ),
]


def read_checkpoint(file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors or .ckpt / .pt file by name. Pickles with anything but tensors are refused."""
    if not file.is_file():
        raise ValueError(f"no such checkpoint: {file}")
    if file.suffix == ".safetensors":
        return read_safetensors(file)
    content = read_pickle(file)
    for name in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            content = content[name]
    tensors = {k: v for k, v in content.items() if isinstance(v, Tensor)} if isinstance(content, Mapping) else {}
    if not tensors:
        raise ValueError(f"{file} holds a {type(content).__name__} without tensors, expected tensors by name")
    return tensors


def read_pickle(file: Path) -> object:
    """A pickled file of tensors and plain containers, read without running any code in it."""
    harmless: list[Any] = [*_HARMLESS, nn.ParameterDict]  # the latter of the first Textual Inversion
    with reading(file, "take the same weights as .safetensors"), torch.serialization.safe_globals(harmless):
        return torch.load(file, map_location="cpu", weights_only=True)


def looks_like(keys: Iterable[str]) -> str:
    """What a checkpoint with such keys probably is, in words."""
    keys = list(keys)
    for prefixes, what in _LOOKS:
        if any(key.startswith(prefixes) for key in keys):
            return what
    return f"something unknown (keys: {', '.join(sorted(keys)[:3])}, ...)" if keys else "empty"


def needed(state: Mapping[str, Tensor], key: str, what: str, prefix: str = "") -> Tensor:
    """A tensor from which sizes are read; `prefix` stands before the key in the file."""
    if key not in state:
        raise ValueError(f"{what} is incomplete: {prefix}{key} is missing")
    return state[key]


def load_strictly(model: nn.Module, state: Mapping[str, Tensor], what: str, original: Mapping[str, str]) -> None:
    """Load every parameter; `original` {key of the model: key in the file} makes the error name the file's key."""
    wanted = model.state_dict()
    missing = [key for key in wanted if key not in state]
    if missing:
        key = original.get(missing[0], missing[0])
        raise ValueError(f"{what} is incomplete: {len(missing)} tensors missing, the first is {key}")
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape:
            raise ValueError(
                f"{what}: {original.get(key, key)} is {tuple(state[key].shape)}, expected {tuple(tensor.shape)}"
            )
    model.load_state_dict({key: state[key] for key in wanted})


def under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The entries below a prefix, without it."""
    return {key[len(prefix) :]: value for key, value in state.items() if key.startswith(prefix)}


def around(state: Mapping[str, Tensor], landmark: str, usual: str) -> dict[str, Tensor]:
    """The entries next to the key that ends in `landmark`: below the usual prefix, or where training code put them."""
    prefixes = [key.removesuffix(landmark) for key in state if key.endswith(landmark)]
    prefixes = [prefix for prefix in prefixes if not prefix or prefix.endswith(".")]
    return under(state, usual if usual in prefixes or not prefixes else prefixes[0])


def rename(key: str, table: Iterable[tuple[str, str]]) -> str:
    """Replace the first prefix of the table that fits; a key that none fits stays."""
    for old, new in table:
        if key.startswith(old):
            return new + key[len(old) :]
    return key


def count(keys: Iterable[str], prefix: str) -> int:
    """Number of different numbers that follow a prefix, as in "down.0.", "down.1."."""
    return len({key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix)})
