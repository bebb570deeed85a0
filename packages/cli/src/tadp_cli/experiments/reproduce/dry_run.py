"""What a reproduction would run, row by row, and what this machine lacks for it; nothing is computed or downloaded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from tadp_captioning import CaptionStore
from tadp_cli.config.recipe import Recipe
from tadp_cli.experiments.reproduce.plan import Bench, PlannedRun, images_of_domain
from tadp_cli.inputs.prepare import LEARNED, captions_path, clean_path
from tadp_cli.inputs.prerequisites import missing_inputs, missing_weights
from tadp_cli.pipelines.inference_cost import costs_of
from tadp_cli.pipelines.memory_estimate import class_count, context_length, estimated_bytes
from tadp_cli.prompts.kind import make_kind
from tadp_cli.prompts.prompter import Prompter
from tadp_heads.data import SampleDataset
from tadp_heads.data.errors import DataError
from tadp_heads.data.registry import open_data, split_name
from tadp_heads.data.split_images import domain_split

GB = 10**9
_SHOWN = 160
"""Characters of a prompt that lists classes."""
_UNWRITTEN = "{caption}"


class DryRow(NamedTuple):
    """One row of a table as it would run."""

    row: str
    label: str
    lines: dict[str, str]
    """{what: value}, in the order in which they are printed."""


def dry_rows(plan: Sequence[PlannedRun], bench: Bench) -> Iterator[DryRow]:
    """One DryRow per row, for all of its seeds."""
    by_row: dict[str, list[PlannedRun]] = {}
    known: dict[str, float] = {}
    for planned in plan:
        by_row.setdefault(planned.row.name, []).append(planned)
    for runs in by_row.values():
        yield DryRow(runs[0].row.name, runs[0].row.label, _lines(runs, bench, known))


def _lines(runs: Sequence[PlannedRun], bench: Bench, known: dict[str, float]) -> dict[str, str]:
    recipe, train = runs[0].recipe, runs[0].recipe.train
    scenes = bench.scale == "miniature"
    data, target = (_opened(where, recipe, split) for where, split in _first_splits(recipe))
    classes = len(data.classes) if data and data.classes else class_count(recipe)
    needed = _memory(recipe, classes, known)
    trained_on = f"Scenes: {runs[0].row.domains or 'photo'}" if scenes else recipe.data.folder or "(none)"
    lines = {"data": f"{trained_on}, splits {recipe.data.train} (training) and {recipe.data.val}"}
    if recipe.prompt.domain or recipe.test.folder:
        where = f"Scenes: {recipe.prompt.domain}" if scenes else recipe.test.folder
        lines["target"] = f"{where}, split {recipe.test.split}"
    if recipe.prompt.modifier in LEARNED:
        lines["domain"] = f"{recipe.prompt.domain}, by {recipe.prompt.modifier} from {_learned_from(recipe, bench)}"
    if recipe.needs_captions:
        lines["captions"] = recipe.data.captions or f"{recipe.captioner}, at least {recipe.data.min_tokens} tokens"
    lines["prompt"] = first_prompt(recipe, data, bench)
    if target is not None:
        lines["prompt, target"] = first_prompt(recipe, target, bench, of_target=True)
    lines["steps"] = f"{train.steps} (seeds {', '.join(str(run.recipe.train.seed) for run in runs)})"
    lines["batch"] = f"{train.batch_size} images x {train.accumulate} passes = {train.effective_batch} per step"
    lines["memory"] = f"about {needed / GB:.0f} GB in {train.precision} (estimate)"
    if runs[0].row.paper_costs:
        lines["costs"] = str(costs_of(recipe))
    lacking = [*missing_inputs(recipe, bench), *missing_weights(recipe)]
    lacking += [] if scenes else _missing_memory(needed)
    lines["missing"] = "; ".join(lacking) or "nothing"
    return lines


def _learned_from(recipe: Recipe, bench: Bench) -> str:
    if bench.scale == "miniature":
        return "Scenes"
    where, how = images_of_domain(recipe, bench), recipe.personalize
    split = how.split or domain_split(where)
    return f"{how.count or 'all'} images of {where or '(none)'}{f', split {split}' if split else ''}"


def first_prompt(recipe: Recipe, dataset: SampleDataset | None, bench: Bench, *, of_target: bool = False) -> str:
    """The prompt of the data set's first image; {caption} stands for a caption that is not written yet."""
    whole = replace(recipe.prompt, precision=1.0, recall=1.0)  # shares over a data set say nothing of one image
    kind = make_kind(whole, dataset.prompt_names if dataset else ())
    if dataset is None or not kind.is_text or "tags" in kind.needs:
        return _short(kind.summary)
    dataset.ids = dataset.ids[:1]
    captions = _captions(recipe, dataset.ids[0], bench, of_target) if "captions" in kind.needs else {}
    if _UNWRITTEN in captions.values():
        return _short(kind.summary)
    prompts = Prompter(config=whole).of_data(dataset, None, captions)  # type: ignore[arg-type]  # texts need no backbone
    return _short(prompts.texts[dataset.ids[0]])


def _captions(recipe: Recipe, image_id: str, bench: Bench, of_target: bool) -> Mapping[str, str]:
    """{image id: its caption}, of the file that the recipe names or that an earlier reproduction wrote."""
    given = recipe.test.captions if of_target else recipe.data.captions
    folder = recipe.test.folder if of_target else recipe.data.folder
    written = captions_path(recipe, folder, bench.out)
    file = Path(given) if given else clean_path(written) if of_target else written
    known = CaptionStore.read(file) if file.is_file() else CaptionStore()
    return {image_id: known[image_id]} if image_id in known else {image_id: _UNWRITTEN}


def _first_splits(recipe: Recipe) -> tuple[tuple[str, str], tuple[str, str]]:
    return (recipe.data.folder, recipe.data.train), (recipe.test.folder, recipe.test.split)


def _opened(where: str, recipe: Recipe, split: str) -> SampleDataset | None:
    if not where or not split_name(where)[1].is_dir():
        return None
    try:
        return open_data(where, recipe.task, split)
    except DataError:
        return None


def _memory(recipe: Recipe, classes: int, known: dict[str, float]) -> float:
    """Bytes; rows that differ in their prompts' texts alone take the same."""
    tokens = context_length(recipe, classes)
    train = replace(recipe.train, seed=0, steps=1)
    key = repr((recipe.task, recipe.backbone, recipe.head, recipe.loss, train, classes, tokens))
    if key not in known:
        known[key] = estimated_bytes(recipe, classes, tokens)
    return known[key]


def _missing_memory(needed: float) -> Iterator[str]:
    devices = range(torch.cuda.device_count())
    largest = max((torch.cuda.get_device_properties(index).total_memory for index in devices), default=0)
    if largest < needed:
        there = f"the largest here has {largest / GB:.0f} GB" if largest else "there is none here"
        yield f"a GPU with {needed / GB:.0f} GB ({there}; `--fit` takes less)"


def _short(text: str) -> str:
    text = text or "(empty)"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."
