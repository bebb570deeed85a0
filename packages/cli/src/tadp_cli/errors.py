"""One place where what went wrong becomes one line and an exit code: 2 for wrong use, 1 for failed work."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

WRONG_USE, FAILED_WORK = 2, 1
_LONGEST = 2000
"""Characters of a message; a file can hold a name of any length."""


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Errors that a user can mend are printed without a traceback; all others are ours and keep theirs."""
    try:
        yield
    except KeyboardInterrupt:
        _leave("stopped", FAILED_WORK)
    except ValueError as error:
        _leave(str(error.args[0]) if error.args else type(error).__name__, WRONG_USE)
    except (RuntimeError, OSError) as error:
        _leave(str(error), FAILED_WORK)


def _leave(message: str, code: int) -> None:
    from tadp_cli.terminal import SafeConsole

    line = " ".join(message.split())
    line = line if len(line) <= _LONGEST else f"{line[: _LONGEST // 2]} ... {line[-_LONGEST // 2 :]}"
    SafeConsole(stderr=True).print(f"error: {line}", style="red", soft_wrap=True)
    sys.exit(code)
