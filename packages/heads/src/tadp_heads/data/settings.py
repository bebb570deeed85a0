"""`tadp.toml` next to the data: what the annotation files do not say."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_type_hints

from tadp_heads.data.class_names import is_background
from tadp_heads.data.errors import DataError
from tadp_heads.data.safe_paths import inside
from tadp_heads.schema import fits, type_name

SETTINGS_FILE = "tadp.toml"
BACKGROUND, IGNORE = "background", "ignore"


@dataclass(frozen=True, kw_only=True)
class DepthSettings:
    """The table [depth]."""

    scale: float | None = None
    """Metres per unit of a 16-bit depth map; None: 0.001."""
    range: tuple[float, float] | None = None
    """Nearest and farthest distance in metres that the camera measures; what lies outside has no value."""

    def __post_init__(self) -> None:
        if self.scale is not None and self.scale <= 0:
            raise ValueError(f"scale {self.scale}", "metres per unit, such as 0.001")
        if self.range is not None and not 0 <= self.range[0] < self.range[1]:
            raise ValueError(f"range {list(self.range)}", "[nearest, farthest] in metres")


@dataclass(frozen=True, kw_only=True)
class SplitSettings:
    """The table [split]: how images are split where the data has no split files."""

    val: float = 0.2
    """Share of the images for validation."""
    test: float = 0.0
    seed: int = 0
    group: str = ""
    """Images that share it go into one split: "folder", or a regular expression searched for in the id, whose first
    group (or whole match) is what they share; "": each image on its own."""

    def __post_init__(self) -> None:
        if self.val < 0 or self.test < 0 or self.val + self.test >= 1:
            raise ValueError(f"val {self.val} and test {self.test}", "shares that leave images for training")
        try:
            re.compile(self.group)
        except re.error as error:
            raise ValueError(f"group {self.group!r} ({error})", '"folder" or a regular expression') from None


@dataclass(frozen=True, kw_only=True)
class DataSettings:
    """A folder's `tadp.toml`; each field is as without the file unless it is set."""

    format: str = ""
    """Name of the annotation format, where several are there."""
    classes: tuple[str, ...] = ()
    """Class names in the order of their ids; a label that is none of them, nor remapped or ignored, is an error."""
    ignore: tuple[int | str, ...] = ()
    """Labels, or values of masks, whose pixels count nowhere."""
    unlabelled: str = BACKGROUND
    """What pixels without a shape are: "background", a class, or "ignore", for partially labelled images."""
    remap: dict[str, str] = field(default_factory=dict)
    """{label: class that it is taken for}."""
    prompts: dict[str, str] = field(default_factory=dict)
    """{class: its name in prompts}."""
    palette: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    """{class: RGB colour}, of masks that have colours in place of ids."""
    depth: DepthSettings = DepthSettings()
    split: SplitSettings = SplitSettings()

    def __post_init__(self) -> None:
        if self.unlabelled not in (BACKGROUND, IGNORE):
            raise ValueError(f"unlabelled {self.unlabelled!r}", f"{BACKGROUND!r} or {IGNORE!r}")
        for name, color in self.palette.items():
            if not all(0 <= channel <= 255 for channel in color):
                raise ValueError(f"palette.{name} {list(color)}", "[red, green, blue] from 0 to 255")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a name more than once in classes", "each name once")

    def prompt_names(self, classes: tuple[str, ...], default: tuple[str, ...]) -> tuple[str, ...]:
        """`default`, with the names that [prompts] gives."""
        return tuple(self.prompts.get(name, known) for name, known in zip(classes, default, strict=True))

    def check_prompts(self, classes: tuple[str, ...], root: Path) -> None:
        """Raise a DataError for a name in [prompts] that no class has."""
        unknown = [name for name in self.prompts if name not in classes and not is_background(name)]
        if unknown:
            raise DataError(
                root / SETTINGS_FILE,
                found=f"prompts for {unknown[0]!r}",
                expected=f"one of the classes {', '.join(classes)}",
                fix="correct the name",
            )


def read_settings(root: Path) -> DataSettings:
    """Those of `root`/tadp.toml; the defaults where there is none."""
    path = root / SETTINGS_FILE
    if not path.is_file():
        return DataSettings()
    try:
        values = tomllib.loads(inside(root, path).read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise DataError(
            path, found=f"no valid TOML ({error})", expected="a table of settings", fix="correct it"
        ) from None
    return _table(DataSettings, values, path)


def _table(kind: type, values: Mapping[str, Any], path: Path, prefix: str = "") -> Any:
    """The dataclass `kind` of a TOML table, checked key by key."""
    known = {one.name: one for one in fields(kind)}
    tables = {"depth": DepthSettings, "split": SplitSettings} if kind is DataSettings else {}
    checked = {}
    for name, value in values.items():
        expected = get_type_hints(kind).get(name)
        if name not in known:
            raise DataError(
                path, found=f"the setting {prefix}{name}", expected=f"one of {', '.join(known)}", fix="correct its name"
            )
        if name in tables and isinstance(value, dict):
            checked[name] = _table(tables[name], value, path, f"{name}.")
            continue
        if not fits(value, expected):
            raise DataError(
                path, found=f"{prefix}{name} = {str(value)[:80]}", expected=type_name(expected), fix="correct it"
            )
        checked[name] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**checked)
    except ValueError as error:
        found, expected = error.args
        raise DataError(path, found=f"{prefix}{found}", expected=expected, fix="correct it") from None
