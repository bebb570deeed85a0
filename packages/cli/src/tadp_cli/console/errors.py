"""One place where what went wrong becomes one line and an exit code.

2: wrong options or input files. 1: the environment (disk, network, memory), work in which single files failed, problems
that `tadp data check` found. 130: Ctrl-C.
"""

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tadp_cli.plugins import plugin_error
from tadp_heads.training.memory.out_of_memory import is_out_of_memory, memory_asked

WRONG_INPUT, FAILED, STOPPED = 2, 1, 130
_LONGEST = 2000
"""Characters of a message; a file can hold a name of any length."""

_WRONG_PATHS = (FileNotFoundError, NotADirectoryError, IsADirectoryError, FileExistsError)
_REFUSALS = {
    errno.ENOSPC: "{file} could not be written: the disk is full; make room and run the same command again",
    errno.EDQUOT: "{file} could not be written: your disk quota is used up; make room and run the same command again",
    errno.EFBIG: "{file} could not be written: larger than the limit on a file's size allows (`ulimit -f`)",
    errno.EROFS: "{file} cannot be written: its file system is read-only; name another folder",
    errno.EACCES: "no permission for {file}: change its permissions, or name another folder",
    errno.EPERM: "no permission for {file}: change its permissions, or name another folder",
    errno.EMFILE: "{file}: the limit of {limit} open files is reached; raise it with `ulimit -n 1024`",
    errno.ENFILE: "{file}: the machine's limit of open files is reached; end other programs",
}


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors that a user can fix are printed without a traceback; all others are ours and keep theirs."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("stopped by Ctrl-C", STOPPED)
    except UnicodeError as error:
        _leave(_unicode_line(error), WRONG_INPUT)
    except ValueError as error:
        _leave(plugin_error(error) or (str(error.args[0]) if error.args else type(error).__name__), WRONG_INPUT)
    except (RuntimeError, OSError, MemoryError, ImportError) as error:
        message = None if is_out_of_memory(error) else plugin_error(error)
        if isinstance(error, ImportError) and not is_out_of_memory(error) and message is None:
            raise
        wrong_path = isinstance(error, _WRONG_PATHS) and error.errno is not None
        _leave(message or _line(error), WRONG_INPUT if wrong_path or message else FAILED)
    except Exception as error:
        if (message := plugin_error(error)) is None:
            raise
        _leave(message, WRONG_INPUT)


def _unicode_line(error: UnicodeError) -> str:
    """What stands where, for of such errors the first argument is the codec."""
    if not isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        return str(error)
    shown = error.object[max(0, error.start - 40) : error.end + 20]
    done = "read" if isinstance(error, UnicodeDecodeError) else "written"
    return (
        f"{shown!r} cannot be {done} as {error.encoding} (position {error.start}): save the file as UTF-8, or rename "
        "what has this name"
    )


def _line(error: Exception) -> str:
    if is_out_of_memory(error) and not _explained(error):
        return f"not enough memory{memory_asked(error)}: use smaller images or batches{_memory_limit()}"
    if isinstance(error, OSError) and error.errno is not None:
        name = "a file" if error.filename is None else str(error.filename)
        message = _REFUSALS.get(error.errno)
        return f"{name}: {error.strerror}" if message is None else message.format(file=name, limit=_limit("NOFILE"))
    return str(error)


def _explained(error: Exception) -> bool:
    """Whether we raised it ourselves, with what to do."""
    return isinstance(error, RuntimeError) and is_out_of_memory(error.__cause__)


def _memory_limit() -> str:
    limit = _limit("AS")
    return "" if limit is None else f", or raise the limit of {limit / 2**30:.1f} GiB (`ulimit -v`)"


def _limit(name: str) -> int | None:
    """This process's, None: unlimited."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit = resource.getrlimit(getattr(resource, f"RLIMIT_{name}"))[0]
    return None if limit == resource.RLIM_INFINITY else limit


def _leave(message: str, code: int) -> None:
    from tadp_cli.console.terminal import SafeConsole

    line = " ".join(message.split())
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    SafeConsole(stderr=True).print(f"error: {line}", style="red", soft_wrap=True)
    sys.exit(code)
