"""Evaluates a finished run on a split of any data set with the same classes."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from tadp_captioning import (
    CaptionStore,
    CleaningLimits,
    cleaner_of,
    get_domain,
    load_cleaner,
)
from tadp_captioning.chat_api.answer_cache import default_cache
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN, RULES
from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report, quiet
from tadp_cli.device import checked_device
from tadp_cli.inputs.unlabelled_images import unlabelled_images
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import AUTO, Speed, evaluation_speed
from tadp_cli.prompts.authors import check_author
from tadp_cli.prompts.builder import PromptContexts, Prompts, names_domain
from tadp_cli.prompts.captions import Author, captions_of
from tadp_cli.prompts.cleaned import cleaned_captions
from tadp_cli.prompts.prompter import Prompter, naming_the_rules
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_cli.run.records import measured
from tadp_cli.run.run import Run, use_prompt_names
from tadp_heads import PerceptionModel
from tadp_heads.data import SampleDataset
from tadp_heads.data.registry import open_data
from tadp_heads.data.unlabelled import UnlabelledImages
from tadp_heads.precision import in_float32
from tadp_heads.training import measure
from tadp_heads.training.parallel.accelerator import make_accelerator


class OpenedRun(NamedTuple):
    """A run's model and a split of data with the prompt of each image, ready for evaluation."""

    recipe: Recipe
    model: PerceptionModel
    dataset: SampleDataset
    prompts: Prompts
    cleaner: str = ""
    """What removed the words for a domain from the captions, as far as they record it."""

    def context(self, ids: Sequence[str]) -> Tensor | None:
        """(B, T, D) for these images; None for a backbone without text."""
        return self.prompts.context(self.model.backbone, ids)


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """What a run is evaluated on, and under which prompts; empty: on its validation split, as it was trained."""

    folder: str | None = None
    """A data set with the same classes."""
    split: str = ""
    captions: Path | None = None
    """Captions of its images; None: the recipe's captioner writes them."""
    domain: str = ""
    """The data's domain: captions lose the words for it, so that they read like those of the training (paper 4.3)."""
    domain_phrase: str = ""
    modifier: str = ""
    """Puts the domain into the prompts, in place of the recipe's modifier."""
    token_file: str = ""
    """Of the modifier textual-inversion."""
    cleaner: str = ""
    """What removes the words for the domain; empty: the recipe's, and captions that record a cleaner stay."""
    limits: CleaningLimits = NO_LIMITS_GIVEN
    speed: Speed = AUTO
    """How the model computes."""
    labelled: bool = True
    """Whether labels are read; without them `folder` and `split` name images that are predicted, not evaluated."""


@in_float32()
def open_run(
    run: Path,
    *,
    most: int | None = None,
    read_inside: bool = True,
    device: str = "cpu",
    report: Report = quiet,
    **how: Any,
) -> OpenedRun:
    """A finished run on a split, or on the split's first `most` images; `how`: fields of `EvaluateOptions`.

    `read_inside`: see `speed_up`.
    """
    options = EvaluateOptions(**how)
    domain, limits = options.domain, options.limits
    recipe = _asked(read_prompting(run), options)
    if not recipe.needs_captions and (options.captions or (domain and not options.modifier)):
        raise ValueError(f"{run} was trained with the prompt {recipe.prompt.kind!r}: leave --captions and --domain out")
    folder, split = options.folder or recipe.data.folder, options.split or recipe.data.val
    if options.cleaner and not domain and not (recipe.needs_captions and names_domain(recipe.prompt)):
        raise ValueError(f"--cleaner {options.cleaner} removes the words for a domain: name it with --domain")
    own, asked, cleaner = _is_own(recipe, folder), options.cleaner, options.cleaner or recipe.test.cleaner
    if cleaner != RULES and (asked or not own) and recipe.needs_captions and names_domain(recipe.prompt):
        domain = domain or recipe.prompt.domain
    target = get_domain(domain, options.domain_phrase or _phrase(recipe, domain)) if domain else None
    if target:  # an unknown domain, or a model without a price, is an error before hours of captioning
        with naming_the_rules(cleaner):
            load_cleaner(cleaner if asked or options.captions is None else RULES, target, limits)
    dataset: SampleDataset = (
        open_data(folder, recipe.task, split) if options.labelled else unlabelled_images(recipe, folder, options.split)
    )
    dataset.ids = dataset.ids[:most]
    accelerator = make_accelerator(recipe.train.precision, checked_device(device))
    if accelerator.num_processes > 1:
        device = str(accelerator.device)
    speed, token = evaluation_speed(recipe, options.speed), options.token_file
    model = loaded_model(run, speed, device, images=len(dataset), read_inside=read_inside, token_file=token)
    if isinstance(dataset, UnlabelledImages):
        dataset.name_classes(model.config.classes)
    store = None
    if recipe.needs_captions:
        with accelerator.main_process_first():
            store = _captions(run, recipe, dataset, folder, split, options.captions, device, report)
            if target and (asked or any(not r.cleaner and r.error is None for r in store.records())):
                store = cleaned_captions(store, dataset.ids, cleaner, target, limits, report)
    prompts = _prompts(run, recipe, model, dataset, store, device, report)
    return OpenedRun(recipe, model, dataset, prompts, "" if store is None else cleaner_of(store))


def _captions(
    run: Path,
    recipe: Recipe,
    dataset: SampleDataset,
    folder: str,
    split: str,
    given: Path | None,
    device: str,
    report: Report,
) -> CaptionStore:
    """Captions of the evaluation images: those given, those of the run's training, or new ones, stored in the run."""
    own = Path(recipe.data.captions) if _is_own(recipe, folder) and recipe.data.captions else None
    if not (given or own):
        check_author(recipe, run, "give captions of these images with --captions")
    return captions_of(
        dataset,
        given or own,
        Author(**recipe.captioning, device=device),
        written_to=captions_folder(run) / f"{Path(folder).resolve().name}_{split}.jsonl",
        progress=lambda p: report("caption", p.done, p.total),
    )


def _is_own(recipe: Recipe, folder: str) -> bool:
    """Whether the folder is that of the data that the run was trained on."""
    return Path(folder).resolve() == Path(recipe.data.folder).resolve()


def _prompts(
    run: Path,
    recipe: Recipe,
    model: PerceptionModel,
    dataset: SampleDataset,
    store: CaptionStore | None,
    device: str,
    report: Report,
) -> Prompts:
    if model.context is not None:
        return Prompts({}, model.context)
    known = Run(run).prompt_names(model.config.classes)
    use_prompt_names(known, dataset)
    names = [known[name] for name in model.config.classes]
    presence = tagger_of(run, recipe, model, device)
    found = None if presence is None else presence.find(dataset, store, report)
    return Prompter.of(recipe, names).of_data(dataset, model.backbone, store, found)


def _phrase(recipe: Recipe, domain: str) -> str:
    """How the recipe describes the domain; "" for another than its own."""
    return recipe.prompt.domain_phrase if domain == recipe.prompt.domain else ""


def _asked(recipe: Recipe, options: EvaluateOptions) -> Recipe:
    """The recipe with the modifier that is asked for."""
    modifier, token_file = options.modifier, options.token_file
    if not modifier:
        if token_file:
            raise ValueError(f"{token_file}: --token-file needs the modifier textual-inversion")
        return recipe
    domain, known = options.domain or recipe.prompt.domain, recipe.prompt
    if modifier != "null" and not domain:
        raise ValueError(f"the modifier {modifier!r} needs a domain, e.g. watercolor")
    if modifier != "null" and not recipe.kind.is_text:
        raise ValueError(f"prompt {known.kind!r} is an embedding, and modifiers need a text prompt")
    if modifier == "dreambooth" and modifier != known.modifier:
        raise ValueError("the modifier 'dreambooth' needs the UNet that it tuned: train with it")
    changes = {"prompt.modifier": modifier, "prompt.domain": domain}
    changes["prompt.domain_phrase"] = options.domain_phrase or _phrase(recipe, domain)
    return recipe.replace(**changes, **({"prompt.token_file": token_file, "prompt.token": ""} if token_file else {}))


def evaluate_run(run: Path, **how: Any) -> dict[str, Any]:
    """`evaluated`, also put into the run's results.json in place of the metrics of the same data."""
    entry = evaluated(run, **how)
    Run(run).add_evaluation(entry)
    return entry


def captions_folder(run: Path) -> Path:
    """Where captions for a run are kept: in the run, or where it cannot be written to in the user's cache."""
    if os.access(run, os.W_OK):
        return run / "captions"
    return default_cache().parent / "captions" / hashlib.sha256(str(run.resolve()).encode()).hexdigest()[:16]


@in_float32()
def evaluated(
    run: Path, *, protocol: str = "", device: str = "cpu", report: Report = quiet, **how: Any
) -> dict[str, Any]:
    """The metrics by a protocol, "" for the recipe's, with what results.json records of them.

    `how`: fields of `EvaluateOptions`.
    """
    options = EvaluateOptions(**how)
    recipe, model, dataset, prompts, cleaned_by = open_run(run, read_inside=False, device=device, report=report, **how)
    folder, split = absolute(options.folder or recipe.data.folder), options.split or recipe.data.val
    evaluation = measure(
        model,
        dataset,
        PromptContexts(prompts, model.backbone),
        protocol=protocol or recipe.protocol,
        batch_size=recipe.train.batch_size,
        progress=lambda d, t: report("evaluate", d, t),
    )
    entry = {"data": folder, "split": split, **measured(evaluation)}
    if protocol:
        entry["protocol"] = protocol
    if cleaned_by:
        entry["cleaner"] = cleaned_by
    if options.modifier:
        named = {} if options.modifier == "null" else {"domain": recipe.prompt.domain}
        entry |= {"modifier": options.modifier} | named
    return entry
