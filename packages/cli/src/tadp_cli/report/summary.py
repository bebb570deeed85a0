"""What a page about runs says first, in three sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

from tadp_cli.config.recipe import Recipe
from tadp_cli.run.records import place_of
from tadp_heads import get_task
from tadp_heads.data.registry import split_name

Evaluations = Mapping[str, Sequence[Mapping[str, Any]]]
"""{run: entries of its results.json}."""


def summary(recipes: Mapping[str, Recipe], evaluations: Evaluations, prompt: str = "") -> list[str]:
    """What was trained, how well it does, and with which prompts; `prompt`: of the image that is shown first."""
    return [_trained(recipes), _metrics(recipes, evaluations), _prompts(recipes, prompt)]


def class_columns(evaluations: Evaluations) -> dict[str, dict[str, float]]:
    """{run and data: {class: metric}} of the evaluations that have them; a class without a value is left out."""
    columns = {}
    for run, entries in evaluations.items():
        for entry in entries:
            values = {name: value for name, value in entry.get("per_class", {}).items() if value is not None}
            if values:
                columns[f"{run}: {place_name(entry)}" if len(evaluations) > 1 else place_name(entry)] = values
    return columns


def place_name(entry: Mapping[str, Any]) -> str:
    """Data and split of an evaluation, with how its prompts or protocol differ from the training's."""
    data, split, *how = place_of(dict(entry))
    named = ", ".join(part for part in how[:3] if part)
    return f"{split_name(data)[1].name}/{split}{f' ({named})' if named else ''}"


def _trained(recipes: Mapping[str, Recipe]) -> str:
    parts = {}
    for run, recipe in recipes.items():
        data = split_name(recipe.data.folder)[1].name
        steps = f"{recipe.train.steps} steps of {recipe.train.effective_batch} images"
        place = f" on the data set {data}" if data else ""
        parts[run] = f"{recipe.task} with the backbone {recipe.backbone.source}, {steps}{place}"
    return f"Trained: {_grouped(parts)}."


def _metrics(recipes: Mapping[str, Recipe], evaluations: Evaluations) -> str:
    parts = {}
    for run, entries in evaluations.items():
        metric = get_task(recipes[run].task).main_metric
        unit = {"percent": " %", "metres": " m"}.get(metric.unit, "")
        shown = [
            f"{metric.show(metric.scale * entry['metrics'][metric.key])}{unit} on {place_name(entry)}"
            for entry in entries
            if metric.key in entry["metrics"]
        ]
        parts[run] = f"{metric.name} {', '.join(shown)}" if shown else "not evaluated"
    return f"Evaluated: {_grouped(parts)}."


def _prompts(recipes: Mapping[str, Recipe], prompt: str) -> str:
    parts = {}
    for run, recipe in recipes.items():
        asked = recipe.prompt
        by = f" by {recipe.data.captioner}" if recipe.needs_captions and recipe.data.captioner else ""
        modified = f", modifier {asked.modifier}" if asked.modifier != "null" else ""
        domain = f" for {asked.domain}" if modified and asked.domain else ""
        parts[run] = f"{asked.kind}{by}{modified}{domain}"
    example = f"; the image above is shown to the first run with the prompt “{prompt}”" if prompt else ""
    return f"Prompts: {_grouped(parts)}{example}."


def _grouped(parts: Mapping[str, str]) -> str:
    """{run: text} as one sentence: runs of the same text together, and of a single run the text alone."""
    if len(parts) == 1:
        return next(iter(parts.values()))
    runs = {text: [run for run, own in parts.items() if own == text] for text in parts.values()}
    return "; ".join(f"{' and '.join(names)}: {text}" for text, names in runs.items())
