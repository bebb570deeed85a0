"""Estimated memory of weights, gradients and optimizer state, without activations."""

from collections.abc import Iterator
from functools import cache

from tadp_cli.doctor.findings import GIB, Finding
from tadp_cli.doctor.machine import free_memory

FULL, HALF = 4, 2
"""Bytes per weight in float32 and in half precision."""
TRAINED = 4 * FULL
"""Bytes per trained weight: itself, its gradient and AdamW's two moments, all in float32."""
JOBS = {
    "predict, half precision": (HALF, HALF),
    "train a head on the frozen UNet": (FULL, FULL),
    "train the UNet too": (TRAINED, FULL),
}
"""{job: (bytes per weight of the UNet, bytes per weight of VAE encoder and text encoder)}."""


def least_bytes(parameters: dict[str, int], job: str) -> int:
    """Lower bound of a job's memory: without activations, head and CUDA context."""
    unet, frozen = JOBS[job]
    return sum(count * (unet if part == "unet" else frozen) for part, count in parameters.items())


def what_fits() -> Iterator[Finding]:
    """For each backbone whose weights must be fetched: what each job needs, and where that is free."""
    import torch

    from tadp_backbone import BACKBONES

    places = {f"cuda:{i}": torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count())}
    memory = free_memory()
    if memory is not None:
        places["cpu"] = memory[0]
    for name, entry in BACKBONES.items():
        if entry.folder is None:
            parameters = _parameters(name)
            for job in JOBS:
                yield fit(f"{name}: {job}", least_bytes(parameters, job), places)


def fit(name: str, needed: int, places: dict[str, int]) -> Finding:
    """Where so many bytes are free."""
    where = [place for place, free in places.items() if free >= needed]
    found = f"from {needed / GIB:.1f} GiB, activations on top: "
    return Finding("what fits", name, found + (f"fits on {', '.join(where)}" if where else "does not fit here"), True)


@cache
def _parameters(name: str) -> dict[str, int]:
    """{part: weights}, counted on a model without memory."""
    from tadp_backbone.summary import untrained

    model = untrained(name, device="meta")
    parts = {"unet": model.unet, "vae": model.vae, "text_encoder": model.text_encoder}
    return {part: sum(p.numel() for p in module.parameters()) for part, module in parts.items()}
