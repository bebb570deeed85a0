"""Python files of the user that a command names with --plugin: loaded once, and recorded by the runs made with them.

A run never loads the code that it records. What such a file registers (heads, tasks, data sets, captioners, backbones,
kinds of prompts, domains) is known by name to the whole process.
"""

import hashlib
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType

logger = logging.getLogger(__name__)
_PREFIX = "tadp_plugin_"
_given: dict[str, str] = {}
"""{file name: SHA-256} of the plugins of this command."""
_warned: set[tuple[str, str]] = set()


def load_plugins(files: Sequence[Path]) -> None:
    """Execute the files, which are then the plugins of this command; one that was executed before is not again.

    Raise ValueError with file and line for a file that fails.
    """
    _given.clear()
    for file in files:
        if not file.is_file():
            raise ValueError(f"--plugin {file}: no such file; expected a Python file")
        if file.name in _given:
            raise ValueError(f"--plugin {file}: a plugin called {file.name} is given already; rename one of them")
        if file.suffix != ".py":
            raise ValueError(f"--plugin {file}: expected a Python file, whose name ends in .py")
        source = file.read_bytes()
        _given[file.name] = hashlib.sha256(source).hexdigest()
        if getattr(sys.modules.get(_module_name(file)), "sha256", None) != _given[file.name]:
            _execute(file, source)


def given_plugins() -> dict[str, str]:
    """{file name: SHA-256} of the plugins of this command."""
    return dict(_given)


def plugin_files() -> list[Path]:
    """The files of the plugins of this command, for processes that it starts."""
    return [Path(str(sys.modules[_module_name(Path(name))].__file__)) for name in _given]


def check_plugins(recorded: Mapping[str, str], where: str) -> None:
    """Raise ValueError unless the plugins that the file `where` records are loaded; warn of one that has changed.

    A module that Python code imported from a file of that name counts as well.
    """
    for name, sha256 in recorded.items():
        now = _given.get(name) or _imported(name)
        if now is None:
            raise ValueError(f"{where} was made with the plugin {name}: pass --plugin FILE with the path of {name}")
        if now != sha256 and (name, now) not in _warned:
            _warned.add((name, now))
            logger.warning(
                "the plugin %s differs from that of %s (SHA-256 %s..., then %s...)", name, where, now[:8], sha256[:8]
            )


def plugin_error(error: BaseException) -> str | None:
    """ "FILE, line N: what went wrong" of an error that a plugin caused; None of any other."""
    if isinstance(error, SyntaxError) and _is_plugin(error.filename or ""):
        return f"{error.filename}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_plugin(frame.filename)]
    return f"{lines[-1].filename}, line {lines[-1].lineno}: {type(error).__name__}: {error}" if lines else None


def _execute(file: Path, source: bytes) -> None:
    name = _module_name(file)
    module = ModuleType(name)
    module.__file__ = str(file.absolute())
    module.__dict__["sha256"] = _given[file.name]
    sys.modules[name] = module  # where dataclasses and pickle look for what the file defines
    try:
        exec(compile(source, module.__file__, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        message = plugin_error(error)
        del sys.modules[name]
        raise ValueError(message or f"{file}: {type(error).__name__}: {error}") from error


def _module_name(file: Path) -> str:
    return _PREFIX + file.stem


def _is_plugin(file: str) -> bool:
    loaded = [module for name, module in list(sys.modules.items()) if name.startswith(_PREFIX)]
    return any(module.__file__ == file for module in loaded)


def _imported(name: str) -> str | None:
    """The SHA-256 of the file of that name which Python code imported as a module; None: there is none."""
    for module, loaded in list(sys.modules.items()):
        file = getattr(loaded, "__file__", None)
        if file and Path(file).name == name and not module.startswith(_PREFIX):
            return hashlib.sha256(Path(file).read_bytes()).hexdigest()
    return None
