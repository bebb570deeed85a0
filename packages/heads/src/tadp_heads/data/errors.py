"""One style of message for malformed files."""

from pathlib import Path


class DataError(ValueError):
    """A malformed file of a data set, in one line: which file, what was found, what was expected, what to do."""

    def __init__(self, path: str | Path, *, found: str, expected: str, fix: str):
        super().__init__(f"{path}: found {found}, expected {expected}; {fix}")
        self.path = Path(path)
        self.found = found
        self.expected = expected
        self.fix = fix

    def __reduce__(self):
        # DataLoader workers send exceptions by pickle, which would call the class with the message alone.
        return _rebuild, (str(self.path), self.found, self.expected, self.fix)


def _rebuild(path: str, found: str, expected: str, fix: str) -> DataError:
    return DataError(path, found=found, expected=expected, fix=fix)
