"""Which recipes a reproduction of a table runs, and on which data, before anything is computed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from tadp_captioning import CleaningLimits
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.paper_tables import SCALES, Row, Table
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.config.vision import for_backbone
from tadp_cli.inputs.prepare import LEARNED
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
    data: tuple[str, ...] = ()
    """NAME:FOLDER each, in place of data.folder of the rows that train on that data set; for a table that is not the
    paper's also one data set of the user's own, for all rows."""
    targets: tuple[str, ...] = ()
    """NAME:FOLDER each, in place of test.folder of the rows that are evaluated on that data set."""
    images: Mapping[str, str | Path] = field(default_factory=dict)
    """{domain: folder, or NAME:FOLDER, of the images from which it is learned}; at small scale they are Scenes."""
    settings: tuple[str, ...] = ()
    """ "key=value" for all rows, on top of their recipes."""
    fit: str = ""
    """Memory, such as "12GB", for which each row's batch size, accumulation, checkpointing and precision are picked."""
    train_images: int = 500
    scored_images: int = 200
    """Scenes of the small-scale splits."""
    steps: int = 0
    """Training steps in place of the recipes'; 0: the recipes'."""
    device: str = "cpu"
    limits: CleaningLimits = NO_LIMITS_GIVEN
    """Of a model that cleans captions (test.cleaner)."""

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"unknown scale {self.scale!r}; choose from {', '.join(SCALES)}")
        if self.scale == "miniature" and (self.data or self.targets or self.images):
            raise ValueError("--scale miniature brings its own data: leave --data, --target and --images out")
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
    recipes = [for_backbone(load_recipe(table.recipe_name(row, bench.scale), bench.settings)) for row in wanted]
    own = not table.of_the_paper and len(bench.data) == 1
    data = {} if own else _by_name("--data", bench.data, [recipe.data.folder for recipe in recipes], "train on")
    learned = [recipe.personalize.images for recipe in recipes if recipe.prompt.modifier in LEARNED]
    tested = [recipe.test.folder for recipe in recipes]
    targets = _by_name("--target", bench.targets, [*tested, *learned], "are evaluated on or learn from")
    _check_domains(bench.images, recipes)
    return [
        PlannedRun(row, seeded, bench.out / "runs" / row.name / f"seed{seeded.train.seed}")
        for row, recipe in zip(wanted, recipes, strict=True)
        for seeded in _seeded(_on_data(recipe, bench, bench.data[0] if own else data, targets), seeds)
    ]


def chosen(table: Table, scale: str, names: Sequence[str]) -> list[Row]:
    """Rows of the table that can be run at the scale; a name given that is none of them is an error."""
    there = {row.name: row for row in table.rows}
    for name in names:
        if name not in there:
            raise ValueError(f"{table.name} has no row {name!r}; choose from {', '.join(there)}")
        if there[name].reported:
            raise ValueError(f"{table.name}, row {name}: the paper quotes it from other work; it cannot be run")
        if scale not in there[name].scales:
            known = ", ".join(there[name].scales)
            raise ValueError(f"{table.name}, row {name}: not at the scale {scale}: it is a row at the scale {known}")
    rows = [row for row in table.rows if scale in row.scales and (not names or row.name in names)]
    if not rows:
        raise ValueError(f"{table.name} has no rows at the scale {scale}: name another with --scale")
    return rows


def _on_data(recipe: Recipe, bench: Bench, data: str | Mapping[str, str], targets: Mapping[str, str]) -> Recipe:
    """`data`: one folder for all, or {data set: NAME:FOLDER} as `targets`."""
    changes: dict[str, Any] = {"train.steps": bench.steps} if bench.steps else {}
    folder = data if isinstance(data, str) else data.get(_name(recipe.data.folder))
    target = targets.get(_name(recipe.test.folder))
    changes |= {"data.folder": folder} if folder else {}
    changes |= {"test.folder": target} if target else {}
    learned_from = targets.get(_name(recipe.personalize.images))
    changes |= {"personalize.images": learned_from} if learned_from else {}
    return recipe.replace(**changes)


def _seeded(recipe: Recipe, seeds: int) -> list[Recipe]:
    first = recipe.seeds[0]
    numbers = range(first, first + seeds) if seeds else recipe.seeds
    return [recipe.replace(**{"train.seed": number}) for number in numbers]


def _by_name(option: str, given: Sequence[str], folders: Sequence[str], used: str) -> dict[str, str]:
    """{data set: NAME:FOLDER} of what the option names; each must be the data set of some row."""
    known = [name for name in dict.fromkeys(_name(folder) for folder in folders if folder) if name]
    found: dict[str, str] = {}
    for where in given:
        name = _name(where)
        if not known:
            raise ValueError(f"{option} {where}: these rows {used} no such data set; leave it out")
        if name not in known:
            expected = " or ".join(f"{name}:FOLDER" for name in known)
            raise ValueError(f"{option} {where}: expected {expected}, which these rows {used}")
        if name in found:
            raise ValueError(f"{option} names {name} twice, {found[name]} and {where}: name each data set once")
        found[name] = where
    return found


def images_of_domain(recipe: Recipe, bench: Bench) -> str:
    """The folder, or NAME:FOLDER, from which the recipe's domain is learned; "": none is named.

    The folder of the data set that the recipe is evaluated on is read as that data set, whose splits are kept apart.
    """
    where = str(bench.images.get(recipe.prompt.domain, recipe.personalize.images))
    name, folder = split_name(where)
    target = recipe.test.folder
    same = name is None and target and folder.resolve() == split_name(target)[1].resolve()
    return target if same else where


def _check_domains(images: Mapping[str, object], recipes: Iterable[Recipe]) -> None:
    """That each domain with --images is learned by some row."""
    learned = dict.fromkeys(recipe.prompt.domain for recipe in recipes if recipe.prompt.modifier in LEARNED)
    for domain, where in images.items():
        if domain not in learned:
            known = f"they learn {', '.join(learned)}" if learned else "they learn no domain"
            raise ValueError(f"--images {domain}={where}: no row learns the domain {domain!r}; {known}")


def _name(where: str) -> str:
    """The data set in NAME:FOLDER; "" for a user's own folder."""
    return split_name(where)[0] or ""
