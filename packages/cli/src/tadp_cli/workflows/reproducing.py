"""A table: what is missing of its rows is trained and scored, and stands beside the paper's numbers if it has any."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from tadp_cli.recipes.recipe import Recipe, load_recipe
from tadp_cli.recipes.tables import SCALES, LookTest, Row, Table
from tadp_cli.workflows.demo import SEEDS, SOURCE
from tadp_cli.workflows.experiment import run_experiment, score_once
from tadp_cli.workflows.looks import LOOK_IMAGES, LookData, look_data
from tadp_cli.workflows.personalizing import draw_look
from tadp_cli.workflows.preparing import LEARNT, cleaned, with_captions, with_look
from tadp_cli.workflows.reporting import Report
from tadp_cli.workflows.runs import RESULTS_FILE, flat_settings, write_json
from tadp_heads.data.scenes_disk import write_scenes
from tadp_personalize.files import write_text

COMMANDS_FILE = "commands.txt"


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Where a table's rows are run and on what."""

    out: Path
    """Data, captions, looks and runs; what is in it already is not made again."""
    scale: str = "miniature"
    """One of SCALES."""
    data: str = ""
    """In place of the recipes' data.folder."""
    target: str = ""
    """In place of the recipes' test.folder."""
    images: Path | None = None
    """Unlabelled pictures of the target domain, from which its look is learnt; in miniature they are Scenes."""
    train_images: int = 500
    scored_images: int = 200
    """Scenes of the miniature's splits."""
    steps: int = 0
    """Training steps in place of the recipes'; 0: the recipes'."""
    device: str = "cpu"

    def __post_init__(self):
        if self.scale not in SCALES:
            raise ValueError(f"unknown scale {self.scale!r}; choose from {', '.join(SCALES)}")
        if self.scale == "miniature" and (self.data or self.target or self.images):
            raise ValueError("the miniature brings its own data: leave --data, --target and --images out")


class Score(NamedTuple):
    """One run of one row."""

    row: str
    seed: int
    metrics: dict[str, float]


def reproduce(
    table: Table, bench: Bench, *, rows: Sequence[str] = (), seeds: int = 0, report: Report = lambda *_: None
) -> list[Score]:
    """Scores of the rows named, or of all; writes results.json and the commands that make the same by hand.

    `seeds`: how many, counted up from the recipe's first; 0: the recipe's own.
    """
    plan = [(row, recipe) for row in chosen(table, bench.scale, rows) for recipe in _recipes(table, row, bench, seeds)]
    scores: list[Score] = []
    commands: list[str] = []
    for index, (row, recipe) in enumerate(plan):
        report(table.name, index, len(plan))
        ready = _prepared(recipe, bench, row.looks or SOURCE, report)
        looks = _looks(table, ready, bench, report)
        run = bench.out / "runs" / row.name / f"seed{recipe.train.seed}"
        scores.append(Score(row.name, recipe.train.seed, _scored(table, ready, looks, run, bench, report)))
        commands.append(_command(table.recipe_name(row, bench.scale), recipe, ready, run))
        commands += [look.command(run) for look in looks.values()]
        write_json(bench.out / RESULTS_FILE, _results(table, bench, scores))
        write_text(bench.out / COMMANDS_FILE, "".join(f"{line}\n" for line in commands))
    report(table.name, len(plan), len(plan))
    return scores


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


def _recipes(table: Table, row: Row, bench: Bench, seeds: int) -> list[Recipe]:
    recipe = load_recipe(table.recipe_name(row, bench.scale))
    first = recipe.seeds[0]
    numbers = range(first, first + seeds) if seeds else recipe.seeds
    changes: dict[str, Any] = {"train.steps": bench.steps} if bench.steps else {}
    if bench.data:
        changes["data.folder"] = bench.data
    if bench.target and recipe.test.folder:
        changes["test.folder"] = bench.target
    return [recipe.replace(**changes, **{"train.seed": number}) for number in numbers]


def _prepared(recipe: Recipe, bench: Bench, trained_on: str, report: Report) -> Recipe:
    """The recipe with the data, captions and looks that it names made; `trained_on`: looks of the miniature."""
    if bench.scale == "miniature":
        recipe = _with_scenes(recipe, bench, trained_on)
    if recipe.learns_from_captions:
        recipe = with_captions(recipe, bench.out, bench.device, report)
        if trained_on != SOURCE:
            # Captions of photos rarely say that they are photos: where looks vary, none is to be named either.
            recipe = recipe.replace(**{"data.captions": str(cleaned(Path(recipe.data.captions), None))})
    if recipe.prompt.modifier in LEARNT:
        images, held_out = bench.images, None
        if bench.scale == "miniature":
            folder = bench.out / "looks" / recipe.prompt.domain / "images"
            images, held_out = draw_look(folder, recipe.prompt.domain, LOOK_IMAGES, SEEDS["look"])
        recipe = with_look(recipe, bench.out, images, held_out, bench.device, report)
    return recipe


def _with_scenes(recipe: Recipe, bench: Bench, looks: str) -> Recipe:
    source = bench.out / "data" / recipe.task / looks
    for split, count in (("train", bench.train_images), ("val", bench.scored_images)):
        write_scenes(source, task=recipe.task, look=looks, split=split, count=count, seed=SEEDS[split])
    recipe = recipe.replace(**{"data.folder": str(source)})
    if not recipe.prompt.domain:
        return recipe
    target = source.with_name(recipe.prompt.domain)
    write_scenes(
        target,
        task=recipe.task,
        look=recipe.prompt.domain,
        split=recipe.test.split,
        count=bench.scored_images,
        seed=SEEDS["test"],
    )
    return recipe.replace(**{"test.folder": str(target)})


def _looks(table: Table, recipe: Recipe, bench: Bench, report: Report) -> dict[str, LookData]:
    """{metric: what it is scored on}, of those that the miniature scores on looks."""
    return {
        metric: look_data(recipe, how, bench.out, bench.scored_images, bench.device, report)
        for metric, how in table.metrics.items()
        if isinstance(how, LookTest) and bench.scale == "miniature"
    }


def _scored(
    table: Table, recipe: Recipe, looks: dict[str, LookData], run: Path, bench: Bench, report: Report
) -> dict[str, float]:
    """The table's metrics of one run, on the target where there is one; what is there already is not made again."""
    begun = (run / "config.toml").is_file()
    run_experiment(recipe, run, device=bench.device, resume=begun, report=report)
    found = {}
    for metric, how in table.metrics.items():
        if metric in looks:
            metrics = looks[metric].score(run, bench.device, report)
        elif isinstance(how, LookTest) or (bench.scale == "miniature" and how):
            continue  # a test of the other scale: looks are of Scenes, and protocols are made for images of full size
        else:
            metrics = score_once(run, recipe, how, device=bench.device, report=report)
        found[metric] = metrics[metric.partition(" (")[0]]
    return found


def _command(name: str, recipe: Recipe, ready: Recipe, run: Path) -> str:
    """What a user types for the same run."""
    before, after = flat_settings(recipe), flat_settings(ready)
    filled_in = {key for key in after if key.partition(".")[0] in ("data", "test", "prompt", "backbone")}
    changed = {key: after[key] for key in after if key in filled_in and after[key] != before[key]}
    changed |= {"train.steps": ready.train.steps, "train.seed": ready.train.seed}
    line = ["tadp", "train", name, "--out", str(run)]
    for key, value in changed.items():
        line += ["--set", f"{key}={value}"]
    return shlex.join(line)


def _results(table: Table, bench: Bench, scores: list[Score]) -> dict[str, Any]:
    targets = {row.name: row.target for row in table.rows}
    rows = [{"row": s.row, "seed": s.seed, "metrics": s.metrics, "target": targets[s.row]} for s in scores]
    return {"table": table.name, "scale": bench.scale, "rows": rows}
