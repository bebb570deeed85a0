"""A run's folder: its recipe, its lines of metrics, its results, its state."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from tadp_backbone.registry import BACKBONES
from tadp_cli._io import write_json, write_text
from tadp_cli.config.paths import absolute, with_absolute_paths
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.prompts.authors import with_author
from tadp_cli.run.records import read_evaluations, read_object
from tadp_heads.data import SampleDataset

RECIPE_FILE = "config.toml"
RESULTS_FILE = "results.json"
NAMES_FILE = "prompt_names.json"
"""{class: its name in the run's prompts, "" where they leave it out}."""
_FREE_SECTIONS = ("description", "personalize", "plugins", "seeds", "target", "test")
_FREE = ("cache", "eval_every", "gradient_checkpointing", "keep", "save_every", "shard", "workers")
"""Settings of [train] that may change when a run is gone on with: none of them changes what is learnt."""


def flat_settings(recipe: Recipe) -> dict[str, Any]:
    """{dotted name: value} of all settings."""
    flat: dict[str, Any] = {}
    for name, value in asdict(recipe).items():
        flat |= {f"{name}.{key}": item for key, item in value.items()} if isinstance(value, dict) else {name: value}
    return flat


def check_run(folder: Path, recipe: Recipe, resume: bool, killed: bool = False) -> None:
    """Raise unless a run may begin in `folder`, or the one in it resume with this recipe.

    An unfinished run resumes without being asked to, and so does the command of a process that was `killed` here.
    """
    path = folder / RECIPE_FILE
    if not path.is_file():
        if resume and not killed:
            raise ValueError(f"{folder} holds no run to resume ({RECIPE_FILE} is missing); leave --resume out")
        return
    if not resume and not killed and _is_finished(folder, recipe):
        raise ValueError(f"{folder} holds a run already; add --resume to go on with it, or name another --out")
    begun = load_recipe(path)
    _check_version(folder, begun, recipe)
    changed = _changed(begun, recipe)
    if changed:
        raise ValueError(
            f"{folder} was begun with other settings: {'; '.join(changed)}; resume with those, or name another --out"
        )


def _is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether it is trained, and scored on the recipe's test too where it names one."""
    file, test = folder / RESULTS_FILE, recipe.test
    if not file.is_file():
        return False
    wanted, evaluations = (absolute(test.folder), test.split), read_evaluations(file)
    return not test.folder or any(place_of(entry)[:2] == wanted for entry in evaluations)


def _changed(old: Recipe, new: Recipe) -> list[str]:
    """The settings that decide what a run learns, where they differ; a step's images may be split otherwise,
    though BatchNorm and dropout then see other passes."""
    old, new = (with_author(with_absolute_paths(recipe)) for recipe in (old, new))
    if old.train.effective_batch == new.train.effective_batch:
        new = replace(new, train=replace(new.train, batch_size=old.train.batch_size, accumulate=old.train.accumulate))
    before, after = _fixed(old), _fixed(new)
    return [
        f"{name} was {before.get(name)!r}, is now {after.get(name)!r}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    ]


def _fixed(recipe: Recipe) -> dict[str, Any]:
    """Those that may not change when a run is gone on with."""
    free = {f"train.{name}" for name in _FREE}
    flat = flat_settings(recipe).items()
    return {name: value for name, value in flat if name not in free and name.partition(".")[0] not in _FREE_SECTIONS}


def results_of(recipe: Recipe, metrics: dict[str, float]) -> dict[str, Any]:
    """What results.json holds after the first scoring."""
    return {
        "task": recipe.task,
        "prompt": recipe.prompt.kind,
        "modifier": recipe.prompt.modifier,
        "seed": recipe.train.seed,
        "evaluations": [{"data": recipe.data.folder, "split": recipe.data.val, "metrics": metrics}],
    }


def place_of(entry: dict[str, Any]) -> tuple[str, ...]:
    """What was scored of a run, and how: of two evaluations of the same place the later one counts.

    Data by its absolute path, split, protocol, where the prompts were made otherwise than in training their modifier
    and domain, and the cleaner of the captions where they were cleaned.
    """
    keys = ("protocol", "modifier", "domain", "cleaner")
    return (absolute(entry["data"]), entry["split"], *(entry.get(key, "") for key in keys))


def known_metrics(folder: Path, place: tuple[str, ...], cleaner: str) -> dict[str, float] | None:
    """Metrics of the run at `place`, which lacks the cleaner, of captions by this cleaner or none; None: not there."""
    for entry in read_evaluations(folder / RESULTS_FILE):
        *there, by = place_of(entry)
        if tuple(there) == place and by in ("", cleaner):
            return entry["metrics"]
    return None


def with_version(recipe: Recipe) -> Recipe:
    """The recipe with the version of the shipped weights that it begins with, for a backbone that has one."""
    section, known = recipe.backbone, BACKBONES.get(recipe.backbone.source)
    there = known.version if known else 0
    if section.version not in (0, there):
        has = f"this tadp has version {there}" if there else "only models that come with tadp have versions"
        raise ValueError(f"backbone.version is {section.version} for {section.source!r}: {has}; leave the setting out")
    return recipe.replace(**{"backbone.version": there}) if there else recipe


def _check_version(folder: Path, old: Recipe, new: Recipe) -> None:
    """Raise if the run in `folder` was begun on other weights of that name; what names no version is from the first."""
    name = new.backbone.source
    before, now = old.backbone.version or 1, new.backbone.version
    if name == old.backbone.source and now and before != now:
        raise ValueError(
            f"{folder} was begun with version {before} of the model {name!r}, and this tadp has version {now}: go on "
            "with the tadp that began it, or name another --out (evaluation and prediction work: a finished run holds "
            "its model)"
        )


def begin_run(folder: Path, recipe: Recipe) -> None:
    """Claim the folder; called when everything that the recipe names has been found."""
    write_text(folder / RECIPE_FILE, recipe.to_toml())


def save_prompt_names(folder: Path, classes: Sequence[str], names: Sequence[str]) -> None:
    """Keep each class's name in the run's prompts, by which prompts are made again when it resumes or is scored."""
    if classes:
        write_json(folder / NAMES_FILE, dict(zip(classes, names, strict=True)))


def saved_prompt_names(folder: Path, classes: Sequence[str]) -> dict[str, str]:
    """{class: its name in the run's prompts} of a run that was begun; `classes` are the run's.

    A run without the file is from before there was one: it named classes as their labels do, and left out "background"
    in this variant alone.
    """
    path = folder / NAMES_FILE
    if path.is_file():
        return read_object(path, *classes)
    return {name: "" if name == "background" else name for name in classes}


def use_prompt_names(known: Mapping[str, str], *datasets: SampleDataset) -> None:
    """Name the classes of data sets as a run does that knows them."""
    for dataset in datasets:
        names = zip(dataset.classes, dataset.prompt_names, strict=True)
        dataset.prompt_names = tuple(known.get(label, name) for label, name in names)


def read_run(folder: Path) -> Recipe:
    """The recipe of a finished run."""
    if not (folder / RECIPE_FILE).is_file():
        raise ValueError(f"{folder} is no run: {RECIPE_FILE} is missing; `tadp train` makes runs")
    if not (folder / RESULTS_FILE).is_file():
        raise ValueError(f"{folder} is not finished; go on it with `tadp train ... --resume --out {folder}`")
    return load_recipe(folder / RECIPE_FILE)
