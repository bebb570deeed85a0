"""Where outputs are written that are named by what a file says: below the folder that the user gave."""

from pathlib import Path


def below(out: Path, name: str) -> Path:
    """The path of `name` below `out`, its leading slash left out, as NYUv2's ids have one; links are followed."""
    path = out / name.lstrip("/")
    if not path.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"{name!r} leads out of {out}, which is written to: rename the image, or name another --out")
    return path
