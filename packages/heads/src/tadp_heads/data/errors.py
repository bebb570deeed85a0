"""One style of message for malformed files."""

from pathlib import Path


class DataError(ValueError):
    """A malformed file of a data set, in one line: which file, what was found, what was expected, what to do."""

    def __init__(self, path: str | Path, *, found: str = "", expected: str = "", fix: str = ""):
        if found:
            message = f"{path}: found {found}, expected {expected}; {fix}"
        else:
            # DataLoader re-raises a worker's error from the text of its traceback, which ends in our own line.
            message = str(path).strip().splitlines()[-1].split(f"{type(self).__name__}: ")[-1]
        super().__init__(message)
