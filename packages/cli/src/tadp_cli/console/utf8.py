"""File names in UTF-8 whatever the locale."""

import os
import sys


def start_in_utf8() -> None:
    """Start this process again in Python's UTF-8 mode where the locale has another encoding for file names.

    Paths are written to files (a run's config.toml) in UTF-8: under an ASCII or Latin-1 locale, as on old clusters,
    Python would ask the file system for other bytes and not find them.
    """
    if sys.getfilesystemencoding() not in ("utf-8", "utf8"):
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
