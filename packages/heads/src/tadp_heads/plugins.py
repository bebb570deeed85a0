"""Finding the backbones, captioners and prompt builders of other installed packages by entry points."""

from importlib.metadata import entry_points
from typing import Any

BACKBONES = "tadp.backbones"
"""Entry-point group: name -> class with from_pretrained(folder)."""
CAPTIONERS = "tadp.captioners"
"""Entry-point group: name -> function(captioner name) that gives an object with caption(list of PIL images)."""
PROMPTERS = "tadp.prompters"
"""Entry-point group: name -> function(settings) that gives an object with context(backbone, captions) -> (B, T, D)."""
_PACKAGES = {BACKBONES: "tadp-backbone", CAPTIONERS: "tadp-captioning", PROMPTERS: "tadp-cli"}


def load_plugin(group: str, name: str) -> Any:
    """The object that an installed package registered as `name` in `group`."""
    found = entry_points(group=group)
    if name not in found.names:
        offered = ", ".join(sorted(found.names)) or "none is installed"
        raise ValueError(
            f"no {name!r} among the plugins {group!r} ({offered}): install the package that has it, such as "
            f"{_PACKAGES[group]}"
        )
    return found[name].load()


def plugin_name(group: str, value: Any) -> str | None:
    """The name under which `value` is registered in `group`; None when it is not."""
    target = f"{value.__module__}:{value.__qualname__}"
    candidates = [entry for entry in entry_points(group=group) if entry.attr == value.__qualname__]
    return next((entry.name for entry in candidates if entry.value == target or entry.load() is value), None)
