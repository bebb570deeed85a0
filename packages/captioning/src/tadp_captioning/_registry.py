"""Parts by name: built in, or registered by the user's code or by an installed package.

Packages do not import each other, so each has its own copy of this module, kept equal by a test.
"""

import functools
import re
from collections import UserDict
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Any

PLUGINS = "tadp.plugins"
"""Entry-point group: name -> module of an installed package, which registers parts when it is imported."""


class Registry(UserDict):
    """{name: part}; installed plugins are imported for a name that is not there yet, and before names are listed."""

    def __init__(self, kind: str, parts: dict[str, Any]):
        super().__init__(parts)
        self.kind = kind
        """What a part is called in errors, such as "data set"."""

    def add(self, name: str, part: Any) -> None:
        """Raise ValueError for a name that is taken."""
        if not re.fullmatch(r"\w[\w.-]*", name):
            raise ValueError(f"{self.kind} {name!r}: expected a name of letters, digits, '.', '-' and '_'")
        if name in self.data:
            raise ValueError(f"there is a {self.kind} {name!r} already: register it under another name")
        self.data[name] = part

    def check(self, name: str) -> None:
        """Raise ValueError unless there is a part of that name."""
        if name not in self:
            raise ValueError(f"unknown {self.kind} {name!r}; choose from {', '.join(self)}")

    def __contains__(self, name: object) -> bool:
        if name not in self.data:
            import_installed()
        return name in self.data

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise KeyError(name)
        return self.data[name]

    def __iter__(self) -> Iterator[str]:
        import_installed()
        return iter(list(self.data))


@functools.cache
def import_installed() -> None:
    """Import the modules of installed packages that register parts, once in a process."""
    for entry in entry_points(group=PLUGINS):
        try:
            entry.load()
        except Exception as error:
            raise ValueError(
                f"the installed plugin {entry.name!r} ({entry.value}) cannot be imported "
                f"({type(error).__name__}: {error}): update or uninstall its package"
            ) from error
