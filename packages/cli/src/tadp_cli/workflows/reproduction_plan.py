"""Which recipes a reproduction of a table runs, and on which data, before anything is computed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tadp_cli.recipes.recipe import Recipe, load_recipe
from tadp_cli.recipes.tables import SCALES, Row, Table
from tadp_cli.workflows.preparing import LEARNT
from tadp_heads.data.registry import split_name

_OWN_OPTIONS = {
    "data.folder": "--data",
    "data.val": "another recipe than a table's row",
    "test.folder": "--target",
    "test.split": "another recipe than a table's row",
    "train.seed": "--seeds",
}
"""{setting: what changes it in place of --set}: a row is evaluated on its own data set and split alone."""


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a table's rows are run and on what."""

    out: Path
    """Data, captions, tokens and runs; what is in it already is not made again."""
    scale: str = "miniature"
    """One of SCALES."""
    data: str = ""
    """In place of the recipes' data.folder."""
    targets: tuple[str, ...] = ()
    """NAME:FOLDER each, in place of test.folder of the rows that are evaluated on that data set."""
    images: Mapping[str, Path] = field(default_factory=dict)
    """{domain: unlabelled images from which it is learned}; in miniature they are Scenes."""
    settings: tuple[str, ...] = ()
    """ "key=value" for all rows, on top of their recipes."""
    fit: str = ""
    """Memory, such as "12GB", for which each row's batch size, accumulation, checkpointing and precision are picked."""
    train_images: int = 500
    scored_images: int = 200
    """Scenes of the miniature's splits."""
    steps: int = 0
    """Training steps in place of the recipes'; 0: the recipes'."""
    device: str = "cpu"

    def __post_init__(self):
        if self.scale not in SCALES:
            raise ValueError(f"unknown scale {self.scale!r}; choose from {', '.join(SCALES)}")
        if self.scale == "miniature" and (self.data or self.targets or self.images):
            raise ValueError("the miniature brings its own data: leave --data, --target and --images out")
        for setting in self.settings:
            key = setting.partition("=")[0].strip()
            if key in _OWN_OPTIONS:
                raise ValueError(f"--set {setting}: a table's rows keep {key}; use {_OWN_OPTIONS[key]}")


class PlannedRun(NamedTuple):
    """One training run of a reproduction."""

    row: Row
    recipe: Recipe
    """On the data that the user names; captions, tokens and tuned UNets are not made yet."""
    run: Path


def plan_runs(table: Table, bench: Bench, rows: Sequence[str] = (), seeds: int = 0) -> list[PlannedRun]:
    """The runs of the rows named, or of all rows of the scale; an option that no row uses is an error.

    `seeds`: how many, counted up from the recipe's first; 0: the recipe's own.
    """
    wanted = chosen(table, bench.scale, rows)
    recipes = [load_recipe(table.recipe_name(row, bench.scale), bench.settings) for row in wanted]
    if table.of_the_paper and bench.data:
        _check_data(table, recipes, bench.data)
    targets = _targets(bench.targets, recipes)
    _check_domains(bench.images, recipes)
    return [
        PlannedRun(row, seeded, bench.out / "runs" / row.name / f"seed{seeded.train.seed}")
        for row, recipe in zip(wanted, recipes, strict=True)
        for seeded in _seeded(_on_data(recipe, bench, targets), seeds)
    ]


def chosen(table: Table, scale: str, names: Sequence[str]) -> list[Row]:
    """Rows of the table that can be run at the scale; a name given that is none of them is an error."""
    there = {row.name: row for row in table.rows}
    for name in names:
        if name not in there:
            raise ValueError(f"{table.name} has no row {name!r}; choose from {', '.join(there)}")
        if scale not in there[name].scales:
            known = ", ".join(there[name].scales)
            raise ValueError(f"{table.name}, row {name}: not at the scale {scale}: it is a row at the scale {known}")
    rows = [row for row in table.rows if scale in row.scales and (not names or row.name in names)]
    if not rows:
        raise ValueError(f"{table.name} has no rows at the scale {scale}: name another with --scale")
    return rows


def _on_data(recipe: Recipe, bench: Bench, targets: Mapping[str, str]) -> Recipe:
    changes: dict[str, Any] = {"train.steps": bench.steps} if bench.steps else {}
    if bench.data:
        changes["data.folder"] = bench.data
    target = targets.get(_name(recipe.test.folder))
    if target:
        changes["test.folder"] = target
    return recipe.replace(**changes)


def _seeded(recipe: Recipe, seeds: int) -> list[Recipe]:
    first = recipe.seeds[0]
    numbers = range(first, first + seeds) if seeds else recipe.seeds
    return [recipe.replace(**{"train.seed": number}) for number in numbers]


def _check_data(table: Table, recipes: Iterable[Recipe], data: str) -> None:
    """That --data is the data set of every row, as the paper's numbers are of that one."""
    for recipe in recipes:
        wanted = _name(recipe.data.folder)
        if _name(data) != wanted:
            raise ValueError(f"--data {data}: {table.name} trains on {wanted}; expected {wanted}:FOLDER")


def _targets(given: Sequence[str], recipes: Iterable[Recipe]) -> dict[str, str]:
    """{data set: NAME:FOLDER} of --target; each must be the test data set of some row."""
    tested = dict.fromkeys(_name(recipe.test.folder) for recipe in recipes if recipe.test.folder)
    found: dict[str, str] = {}
    for where in given:
        name = _name(where)
        if not tested:
            raise ValueError(f"--target {where}: these rows are evaluated on their own data alone; leave it out")
        if name not in tested:
            known = " or ".join(f"{name}:FOLDER" for name in tested)
            raise ValueError(f"--target {where}: expected {known}, the data sets that these rows are evaluated on")
        if name in found:
            raise ValueError(f"--target names {name} twice, {found[name]} and {where}: name each data set once")
        found[name] = where
    return found


def _check_domains(images: Mapping[str, Path], recipes: Iterable[Recipe]) -> None:
    """That each domain with --images is learned by some row."""
    learned = dict.fromkeys(recipe.prompt.domain for recipe in recipes if recipe.prompt.modifier in LEARNT)
    for domain, where in images.items():
        if domain not in learned:
            known = f"they learn {', '.join(learned)}" if learned else "they learn no domain"
            raise ValueError(f"--images {domain}={where}: no row learns the domain {domain!r}; {known}")


def _name(where: str) -> str:
    """The data set in NAME:FOLDER; "" for a user's own folder."""
    return split_name(where)[0] or ""
