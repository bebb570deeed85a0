"""Settings that recipes no longer have: the files of old runs are read where these changed nothing."""

from collections.abc import Mapping
from typing import Any

from tadp_heads.schema import SettingError

REMOVED: dict[str, Any] = {
    "presence.single_pass": False,
    "train.consistency": 0.0,
    "train.drop_path": 0.0,
    "train.layer_decay": 1.0,
}
"""{dotted name: its default, with which training was as it is without the setting}."""


def without_removed(tree: Mapping[str, Any], removed: Mapping[str, Any] = REMOVED) -> dict[str, Any]:
    """A recipe's tree without removed settings; raise SettingError for one that is not at its default."""
    kept = {name: dict(value) if isinstance(value, dict) else value for name, value in tree.items()}
    for name, default in removed.items():
        section, _, key = name.rpartition(".")
        settings = kept.get(section) if section else kept
        if not isinstance(settings, dict) or key not in settings:
            continue
        value = settings.pop(key)
        if value != default:
            raise SettingError(
                f"{name} is {value!r}: the setting was removed, and only its default {default!r} is still read; "
                "leave it out",
                tuple(name.split(".")),
            )
    return kept
