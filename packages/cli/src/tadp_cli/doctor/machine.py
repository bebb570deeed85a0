"""Devices, drivers, memory and disk, and which attention runs on them."""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tadp_cli.doctor.findings import GIB, Finding

LEAST_MEMORY, LEAST_DISK = 3, 2
"""GiB that must be free: the demo takes 1.3 GB of memory, a run on the tiny model some hundred MB of disk."""
WEIGHTS_DISK = 16
"""GiB: Stable Diffusion's backbone and BLIP-2 together."""


def machine() -> Iterator[Finding]:
    """What there is to compute on."""
    yield Finding("machine", "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}", True)
    yield from _devices()
    yield from precisions()
    memory = free_memory()
    if memory is not None:
        free, total = memory
        enough = free >= LEAST_MEMORY * GIB
        remedy = "" if enough else f"; the demo needs {LEAST_MEMORY} GiB: close other programs"
        yield Finding("machine", "memory", f"{free / GIB:.1f} GiB free of {total / GIB:.0f} GiB{remedy}", enough)
    yield from _disks()
    yield from attention_backends()


def free_memory() -> tuple[int, int] | None:
    """(free, total) bytes of main memory; None where the system does not report it."""
    path = Path("/proc/meminfo")
    if not path.is_file():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines())
    free, total = (int(lines[name].split()[0]) * 1024 for name in ("MemAvailable", "MemTotal"))
    return free, total


def _devices() -> Iterator[Finding]:
    import torch

    yield Finding("machine", "cpu", f"{os.cpu_count()} cores, torch uses {torch.get_num_threads()} threads", True)
    driver = nvidia_driver()
    if driver is not None:
        yield Finding("machine", "NVIDIA driver", driver, True)
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        found = f"{properties.name}, {free / GIB:.0f} GiB free of {total / GIB:.0f} GiB"
        yield Finding("machine", f"cuda:{index}", found, True)
    if torch.cuda.is_available():
        return
    if driver is None:
        yield Finding("machine", "cuda", "no device; the tiny model runs on the cpu", True)
    elif torch.version.cuda is None:
        yield Finding("machine", "cuda", "torch is built without CUDA: pip install the CUDA build of torch", False)
    else:
        found = f"torch, built for CUDA {torch.version.cuda}, finds no device: update the driver, or see "
        yield Finding("machine", "cuda", f"{found}CUDA_VISIBLE_DEVICES", False)


def precisions() -> Iterator[Finding]:
    """What --precision auto means on each device, for a model of Stable Diffusion's size."""
    import torch

    from tadp_backbone.precision import resolve_precision

    for device in ("cpu", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))):
        inference, training = (resolve_precision("auto", device, training=training) for training in (False, True))
        found = str(inference) if training.name == inference.name else f"{inference}; training in {training.name}"
        yield Finding("machine", f"precision on {device}", found, True)


def nvidia_driver() -> str | None:
    """Version of the driver, None where there is none; an answer that is no number is returned verbatim."""
    command = shutil.which("nvidia-smi")
    if command is None:
        return None
    query = [command, "--query-gpu=driver_version", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    return (answer.stdout or answer.stderr).strip().splitlines()[0] if answer.stdout or answer.stderr else None


def _disks() -> Iterator[Finding]:
    from huggingface_hub.constants import HF_HUB_CACHE

    remedies = {"disk here": "name another --out", "disk of the hub's cache": "set HF_HOME to a larger disk"}
    for (name, remedy), folder in zip(remedies.items(), (Path.cwd(), Path(HF_HUB_CACHE)), strict=True):
        there = next(parent for parent in (folder, *folder.parents) if parent.exists())
        free = shutil.disk_usage(there).free / GIB
        found = f"{free:.0f} GiB free ({folder})"
        if not os.access(there, os.W_OK):
            yield Finding("machine", name, f"{folder} cannot be written to: {remedy}", False)
        elif free < LEAST_DISK:
            yield Finding("machine", name, f"{found}: make room, or {remedy}", False)
        else:
            small = f"; too little for Stable Diffusion with BLIP-2 ({WEIGHTS_DISK} GiB)" if free < WEIGHTS_DISK else ""
            yield Finding("machine", name, found + (small if "cache" in name else ""), True)


def attention_backends() -> Iterator[Finding]:
    """What the UNet's attention runs on, where maps are recorded and where they are not."""
    import torch
    from torch.backends import cuda

    from tadp_backbone.kernels.attention import chunks_are_faster
    from tadp_backbone.kernels.available import HAS_TRITON

    if not torch.cuda.is_available():
        yield Finding("attention", "layers with maps", "softmax in plain torch operations (cpu)", True)
        chunks = "; in bf16 in chunks of queries" if chunks_are_faster() else ""
        yield Finding("attention", "other layers", f"scaled_dot_product_attention (cpu){chunks}", True)
        return
    if HAS_TRITON:
        yield Finding("attention", "layers with maps", "fused Triton kernel, compiled at the first pass", True)
    else:
        found = "softmax in plain torch operations, as Triton is missing: pip install triton (Linux)"
        yield Finding("attention", "layers with maps", found, False)
    kinds = {
        "flash": cuda.flash_sdp_enabled() and cuda.is_flash_attention_available(),
        "memory-efficient": cuda.mem_efficient_sdp_enabled(),
        "cuDNN": cuda.cudnn_sdp_enabled(),
        "math": cuda.math_sdp_enabled(),
    }
    enabled = ", ".join(kind for kind, there in kinds.items() if there)
    yield Finding(
        "attention", "other layers", f"scaled_dot_product_attention: {enabled}; flash in half precision alone", True
    )
