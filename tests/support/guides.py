"""The commands that a page shows."""

import re
import shlex
from pathlib import Path


def commands(page: Path) -> list[list[str]]:
    """Each line of the blocks of bash, as words."""
    blocks = re.findall(r"^```bash\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    return [words for line in lines if (words := shlex.split(line, comments=True))]
