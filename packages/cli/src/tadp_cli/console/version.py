"""`tadp --version`: versions for a bug report."""

import platform
from collections.abc import Iterator

import typer

_LIBRARIES = ("torch", "torchvision", "diffusers", "transformers")


def show_version(asked: bool) -> None:
    """Print the lines and leave, if asked."""
    if not asked:
        return
    for name, found in version_lines():
        typer.echo(f"{name:13} {found}")
    raise typer.Exit


def version_lines() -> Iterator[tuple[str, str]]:
    """(name, version): of tadp, Python, the libraries that compute, CUDA as torch was built for it, and each device."""
    from importlib.metadata import version

    yield "tadp", version("tadp-cli")
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    yield from ((name, version(name)) for name in _LIBRARIES)
    import torch  # takes seconds: last

    yield "CUDA", torch.version.cuda or "torch is built without it"
    if torch.backends.mps.is_available():
        yield "device", "mps"
    for index in range(torch.cuda.device_count()):
        yield f"cuda:{index}", torch.cuda.get_device_name(index)
    yield "cpu", f"{torch.get_num_threads()} threads"
