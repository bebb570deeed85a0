"""Finding a finished run: the newest one, or the one inside of an adaptation."""

from pathlib import Path

from tadp_cli.run.run import RECIPE_FILE, RESULTS_FILE
from tadp_heads.hub.repository import is_repository, local_folder

ADAPTATION_FILE = "adapt.json"
"""In the folder of an adaptation, whose runs lie in the folders below."""
BEFORE, AFTER = "before", "run"
"""Trained without the domain, and with it."""


def run_of(folder: Path) -> Path:
    """The run that a folder is: itself, or of an adaptation the adapted one; of owner/name the hub's, downloaded.

    owner/name@revision takes a branch, tag or commit.
    """
    name, _, revision = str(folder).partition("@")
    if is_repository(name):
        return local_folder(name, revision=revision or None)
    if not (folder / RECIPE_FILE).is_file() and (folder / ADAPTATION_FILE).is_file():
        return folder / AFTER
    return folder


def runs_of(folder: Path) -> list[Path]:
    """The runs to be compared: of an adaptation the one that does not know the domain, where there is one, and it."""
    run = run_of(folder)
    before = folder / BEFORE
    return [run] if run == folder or not (before / RESULTS_FILE).is_file() else [before, run]


def own_run(folder: Path) -> Path:
    """`run_of` a folder that is written to; ValueError for a run of the hub."""
    if is_repository(str(folder).partition("@")[0]):
        raise ValueError(
            f"{folder}: metrics are written into the run, so download it: `hf download {folder} --local-dir "
            f"runs/{folder.name}`, then evaluate runs/{folder.name}"
        )
    return run_of(folder)


def newest_run(folder: Path) -> Path:
    """The run below `folder` whose results.json was written last; the best state that a run keeps is part of it."""
    found = [file.parent for file in folder.rglob(RESULTS_FILE) if (file.parent / RECIPE_FILE).is_file()]
    found = [run for run in found if not (run.parent / RECIPE_FILE).is_file()]
    if not found:
        raise ValueError(f"no finished run below {folder}: name one, or make one with `tadp train`")
    return max(found, key=lambda run: (run / RESULTS_FILE).stat().st_mtime_ns)
