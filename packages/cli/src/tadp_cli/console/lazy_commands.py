"""Commands that are imported when one of them is asked for, so that listing all of them takes no time."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar, Final

import typer
from typer.core import TyperCommand, TyperGroup

MARKUP: Final = "markdown"
"""Of help texts."""


class LazyGroup(TyperGroup):
    """A group whose help and completion read `summaries`; the command that is called is imported."""

    summaries: ClassVar[Mapping[str, str]] = {}
    """{command: first paragraph of its help}, in the order of the list."""

    def __init__(self, **settings: Any):
        super().__init__(**settings)
        self.commands: Any = ImportedCommands(self.summaries, self.place)

    def place(self, name: str) -> tuple[str, str]:
        """(module, function, or of a group the Typer app) of a command."""
        raise NotImplementedError

    def list_commands(self, ctx: Any) -> list[str]:
        """In the order of `summaries`."""
        return list(self.summaries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """What the list shows of a command."""
        return TyperCommand(cmd_name, help=self.summaries[cmd_name]) if cmd_name in self.summaries else None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that these arguments call, imported."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, command and self.commands[name], rest


class ImportedCommands(Mapping[str, Any]):
    """Commands by name, each imported at its first use."""

    def __init__(self, names: Iterable[str], place: Callable[[str], tuple[str, str]]):
        self._names, self._place = tuple(names), place
        self._found: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._found:
            self._found[name] = _imported(name, *self._place(name))
        return self._found[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _imported(name: str, module: str, attribute: str) -> Any:
    found = getattr(import_module(module), attribute)
    around = typer.Typer(add_completion=False, rich_markup_mode=MARKUP)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
        return typer.main.get_group(around).commands[name]
    around.command(name)(found)
    return typer.main.get_command(around)
