"""A folder of an annotation tool, written in the layout that training reads fastest."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tadp_cli.console.reporter import Report
from tadp_cli.run.lock import run_lock
from tadp_heads.data.annotations.importer import Imported, import_folder
from tadp_heads.data.settings import SplitSettings, read_settings


def import_data(
    source: Path, out: Path, task: str | None, split: Mapping[str, Any], report: Report = lambda *_: None
) -> Imported:
    """`split`: settings of a new split, None where tadp.toml or the default decides; all None: the source's splits."""
    given = {name: value for name, value in split.items() if value is not None}
    settings = None
    if given:
        known = read_settings(source).split
        try:
            settings = SplitSettings(**{name: getattr(known, name) for name in split} | given)
        except ValueError as error:
            found, expected = error.args
            raise ValueError(f"--{', --'.join(given)}: found {found}, expected {expected}") from None
    with run_lock(out):
        return import_folder(source, out, task, settings, lambda done, total: report("import", done, total))
