"""In which number format a backbone computes on a device."""

import platform
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch

from .io.reference import read_reference
from .registry import BACKBONES

DTYPES = {"fp32": torch.float32, "tf32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""{precision: type of weights and features}; tf32 is float32 whose products are rounded to 10 bits of mantissa."""
AMPERE, VOLTA = 8, 7
"""Major compute capability from which GPUs compute in bfloat16 and TF32, and in float16."""
SMALL_BYTES = 400_000_000
"""Of a UNet's weights on disk. A smaller one stays in fp32 on CPUs: its layers are too narrow for the CPU's matrix
units, and the small-scale results were measured in fp32."""


@dataclass(frozen=True)
class Precision:
    """A precision, and why it was chosen."""

    name: str
    """One of DTYPES."""
    why: str

    def __str__(self) -> str:
        return f"{self.name} ({self.why})"

    @property
    def half(self) -> torch.dtype | None:
        """The type of half precision; None: float32."""
        return DTYPES[self.name] if self.name in ("bf16", "fp16") else None


def resolve_precision(
    asked: str,
    device: str | torch.device,
    *,
    small: bool = False,
    training: bool = False,
    setting: str = "precision",
    why: str = "as asked",
) -> Precision:
    """What "auto" means on the device; any other precision as it is, if the device can do it.

    auto: bf16 where the device computes in it (GPUs from Ampere on, CPUs with AMX or AVX512-BF16), fp16 on older GPUs,
    except in `training`, else fp32. `small`: see `is_small`. `setting`: what errors call it; `why` another was asked
    for.
    """
    if asked != "auto" and asked not in DTYPES:
        raise ValueError(f"unknown {setting} {asked!r}; choose from auto, {', '.join(DTYPES)}")
    device = torch.device(device)
    if asked == "auto":
        return _best(device, small, training)
    needed = _needed(asked, device)
    if needed:
        raise ValueError(f"{setting} {asked!r} needs {needed}, and the device is {_described(device)}: choose fp32")
    slow = asked == "bf16" and device.type == "cpu" and not cpu_computes_bf16()
    return Precision(asked, f"{why}; slower than fp32 on this CPU, which emulates it" if slow else why)


def is_small(source: str | Path) -> bool:
    """Whether a backbone, by its name or diffusers folder, has a UNet of less than SMALL_BYTES; False if not known."""
    entry = BACKBONES.get(str(source))
    folder = Path(source) if entry is None else entry.folder
    reference = None if folder is None else read_reference(folder)
    if reference is not None and "unet" in reference.parts:
        return is_small(reference.source)
    files = [] if folder is None else folder.glob("unet/*.safetensors")
    return 0 < sum(file.stat().st_size for file in files) < SMALL_BYTES


@cache
def cpu_computes_bf16() -> bool:
    """Whether this CPU has instructions for bfloat16; where torch cannot tell, whether its products are faster."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        checks = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
        return any(getattr(torch.cpu, check, bool)() for check in checks)
    return _product_seconds(torch.float32) > 1.5 * _product_seconds(torch.bfloat16)


def _best(device: torch.device, small: bool, training: bool) -> Precision:
    if device.type == "cuda":
        major, _ = torch.cuda.get_device_capability(device)
        if major >= AMPERE:
            return Precision("bf16", f"{_described(device)} computes in it")
        if major >= VOLTA and not training:
            return Precision("fp16", f"{_described(device)} does not compute in bf16")
        return Precision("fp32", f"{_described(device)} does not compute in bf16")
    if device.type != "cpu":
        return Precision("fp32", f"nothing is known of bf16 on {device.type}")
    if small:
        return Precision("fp32", "a small model on a CPU")
    if cpu_computes_bf16():
        return Precision("bf16", "this CPU has instructions for it")
    return Precision("fp32", "this CPU has no instructions for bf16")


def _needed(asked: str, device: torch.device) -> str:
    """What the device lacks for a precision; "" for nothing."""
    if asked == "fp16" and device.type == "cpu":
        return "a GPU"
    modern = device.type == "cuda" and torch.cuda.get_device_capability(device)[0] >= AMPERE
    if (asked == "tf32" or (asked == "bf16" and device.type == "cuda")) and not modern:
        return "an NVIDIA GPU from Ampere on (compute capability 8.0)"
    return ""


def _described(device: torch.device) -> str:
    if device.type != "cuda":
        return device.type
    major, minor = torch.cuda.get_device_capability(device)
    return f"{torch.cuda.get_device_name(device)} ({major}.{minor})"


def _product_seconds(dtype: torch.dtype) -> float:
    """Of one product of two matrices, the fastest of five."""
    left, right = torch.ones(2, 512, 512, dtype=dtype)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        left @ right
        times.append(time.perf_counter() - start)
    return min(times)
