"""`--set` of personalizations: any field of the methods' configs, checked against its declared type."""

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any

from tadp_cli.config.schema import parse
from tadp_heads.schema import checked

_NONE = "none"


def with_settings(configs: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """{method: config} with each "key=value" in the configs that have the key, such as class_images=200.

    Keys are the fields of `TextualInversionConfig` and `DreamBoothConfig`, those of its LoRA behind "lora."; values are
    as in TOML, and "none" where a field may be None. A key that no config has is an error.
    """
    changed = dict(configs)
    for setting in settings:
        key, equals, text = setting.partition("=")
        keys = tuple(key.strip().split("."))
        if not equals:
            raise ValueError(f"--set {setting!r}: expected key=value, e.g. class_images=200")
        takers = [method for method, config in changed.items() if _has(config, keys)]
        if not takers:
            known = dict.fromkeys(field.name for config in changed.values() for field in dataclasses.fields(config))
            raise ValueError(
                f"--set {setting}: {' and '.join(changed)} have no setting {key.strip()}: {', '.join(known)}"
            )
        for method in takers:
            changed[method] = _replaced(changed[method], keys, text.strip(), setting)
    return changed


def _has(config: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not dataclasses.is_dataclass(config) or key not in {field.name for field in dataclasses.fields(config)}:
            return False
        config = getattr(config, key)
    return not dataclasses.is_dataclass(config)


def _replaced(config: Any, keys: tuple[str, ...], text: str, setting: str) -> Any:
    first, *others = keys
    if others:
        return dataclasses.replace(config, **{first: _replaced(getattr(config, first), tuple(others), text, setting)})
    expected = typing.get_type_hints(type(config))[first]
    options = typing.get_args(expected) if typing.get_origin(expected) in (typing.Union, types.UnionType) else ()
    if type(None) in options and text.lower() == _NONE:
        return dataclasses.replace(config, **{first: None})
    kind = next((option for option in options if option is not type(None)), expected)
    if typing.get_origin(kind) is typing.Literal:
        kind = str
    try:
        return dataclasses.replace(config, **{first: checked(parse(text), kind, (first,))})
    except ValueError as error:
        raise ValueError(f"--set {setting}: {error}") from error
