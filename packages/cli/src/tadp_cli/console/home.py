"""The home folder, written as ~ where no shell has expanded it: --out=~/x, --set data.folder=~/d, recipes, cron."""

import re
from pathlib import Path
from typing import Any

_TILDE = re.compile(r"(^|=|:)~(?=/|$)")


def with_home(text: str) -> str:
    """The home folder in place of a ~ that begins a path: at the start, behind "=" and behind a data set's name."""
    return _TILDE.sub(lambda found: f"{found.group(1)}{Path.home()}", text)


def tree_with_home(tree: Any) -> Any:
    """`with_home` of the paths in a recipe's tree; other text does not begin with "~/"."""
    if isinstance(tree, dict):
        return {key: tree_with_home(value) for key, value in tree.items()}
    if isinstance(tree, list):
        return [tree_with_home(value) for value in tree]
    return with_home(tree) if isinstance(tree, str) else tree
