"""What a run needs before it begins: captions of its data, and the learned domain of its target."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tadp_captioning import CaptionStore, CleaningLimits, Domain, clean_store, get_domain, load_cleaner
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN, RULES
from tadp_captioning.matching import content_hash
from tadp_cli.config.personalize import PersonalizeConfig
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.preflight_checks import check_loss, check_protocol
from tadp_cli.pipelines.personalize import learn, settings
from tadp_cli.prompts.authors import check_author, with_author
from tadp_cli.prompts.captions import Author, captions_of
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_cli.run.run import RESULTS_FILE
from tadp_heads.data.registry import open_data, split_name
from tadp_personalize.lora import LORA_FILE

LEARNED = ("textual-inversion", "dreambooth")
"""Modifiers that a personalization stands behind."""
_DEFAULT = PersonalizeConfig()
_LEARNED_FROM = "learned_from.json"
_LEARNED_IMAGES = "images.json"
_DECIDES = ("split", "count", "seed", "preset")
"""Settings that decide what is learned, apart from the rank, which is part of the folder's name."""


def with_captions(
    recipe: Recipe, out: Path, device: str, report: Report, limits: CleaningLimits = NO_LIMITS_GIVEN
) -> Recipe:
    """One file of captions for all runs that ask for the same; the target's without the words for its domain."""
    check_protocol(recipe)
    check_loss(recipe)
    changes, recipe = {}, with_author(recipe)
    author = Author(**recipe.captioning, device=device)
    cleaner = recipe.test.cleaner
    of_target = recipe.needs_captions and recipe.test.folder and not recipe.test.captions
    domain = recipe.prompt.target if of_target and recipe.prompt.domain else None
    if of_target and recipe.data.captions:
        check_author(recipe, recipe.data.folder, "name captions of the target with --set test.captions=FILE")
    if of_target and domain:  # a model without a price is an error before hours of captioning
        load_cleaner(cleaner, domain, limits)
    if not recipe.data.captions:
        splits = (recipe.data.train, recipe.data.val)
        changes["data.captions"] = str(captions_file(recipe, recipe.data.folder, splits, out, author, report))
    if of_target:
        raw = captions_file(recipe, recipe.test.folder, (recipe.test.split,), out, author, report)
        changes["test.captions"] = str(cleaned(raw, domain, cleaner, limits, report) if domain else raw)
    return recipe.replace(**changes)


def cleaned(
    raw: Path,
    domain: str | Domain | None,
    cleaner: str = RULES,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
    report: Report = lambda *_: None,
) -> Path:
    """The same captions without the words for the domain, or any's for None, in a file next to it (paper 4.3)."""
    file = clean_path(raw, cleaner)
    worker = load_cleaner(cleaner, domain, limits, progress=lambda done, total: report("clean", done, total))
    store, _ = clean_store(CaptionStore.read(raw), worker)
    store.write(file)
    return file


def clean_path(raw: Path, cleaner: str = RULES) -> Path:
    """Where `cleaned` writes: a file per cleaner."""
    by = "" if cleaner == RULES else "_" + re.sub(r"[^\w.-]+", "-", cleaner)
    return raw.with_name(f"{raw.stem}_clean{by}.jsonl")


def with_domain(
    recipe: Recipe,
    out: Path,
    images: Path | Sequence[Path] | None,
    held_out: Path | None,
    device: str,
    report: Report,
) -> Recipe:
    """The recipe with its target's domain, learned once for all runs in `out`."""
    domain, method = recipe.prompt.target, recipe.prompt.modifier
    learn_domain(out, domain, method, recipe.backbone.source, images, held_out, device, report, recipe.personalize)
    return recipe.replace(**domain_settings(out, domain, method, recipe.personalize.rank))


def learn_domain(
    out: Path,
    domain: str | Domain,
    method: str,
    source: str,
    images: Path | Sequence[Path] | None,
    held_out: Path | None,
    device: str,
    report: Report,
    how: PersonalizeConfig = _DEFAULT,
) -> None:
    """Learn a domain where `domain_settings` finds it, unless it is there: a token; for DreamBooth a UNet or LoRA."""
    domain = get_domain(domain)
    folder = domain_folder(out, domain.name, method, how.rank)
    begun = (folder / RESULTS_FILE).is_file()
    decides = {key: asdict(how)[key] for key in _DECIDES} | ({"init_word": how.init_word} if how.init_word else {})
    if not begun or (folder / _LEARNED_FROM).is_file():
        claim(folder / _LEARNED_FROM, decides, f"what was learned of {domain.name}")
    if images is not None and (not begun or (folder / _LEARNED_IMAGES).is_file()):
        claim(folder / _LEARNED_IMAGES, {"images": _digest_of_images(images)}, f"what was learned of {domain.name}")
    if begun:
        return
    if images is None:
        raise ValueError(f"the modifier {method!r} learns from images of the target: name a folder with --images")
    with run_lock(folder):
        learned = learn(
            domain=domain,
            init_word=how.init_word,
            images=images,
            held_out=held_out,
            count=how.count,
            method=method,
            config=settings(method, source, how.preset, rank=how.rank or None if method == "dreambooth" else None),
            backbone=source,
            out=folder,
            resume=(folder / "state").is_dir(),
            device=device,
            seed=how.seed,
            progress=lambda step, total, _: report(f"{method} {domain.name}", step, total),
        )
    if not learned.finished:
        raise RuntimeError(f"{method} was stopped after {learned.steps} steps; the same command resumes it")


def _digest_of_images(images: Path | Sequence[Path]) -> str:
    """Of the images' contents, whatever their names and order."""
    if isinstance(images, Path) and images.is_dir():
        files = [path for path in images.rglob("*") if path.is_file() and not path.name.startswith(".")]
    else:
        files = [images] if isinstance(images, Path) else list(images)
    return hashlib.sha256("".join(sorted(map(content_hash, files))).encode()).hexdigest()[:16]


def domain_folder(out: Path, domain: str, method: str, rank: int = 0) -> Path:
    """Where in `out` a domain is learned; earlier versions did so in looks/."""
    name = f"{method}-rank{rank}" if rank and method == "dreambooth" else method
    earlier = out / "looks" / domain / name
    return earlier if earlier.is_dir() else out / "domains" / domain / name


def domain_settings(out: Path, domain: str | Domain, method: str, rank: int = 0) -> dict[str, str]:
    """Where in `out` a recipe finds the domain that was learned, as settings by their dotted names."""
    domain = get_domain(domain)
    folder = domain_folder(out, domain.name, method, rank)
    if method == "dreambooth" and rank:
        return {"backbone.unet": "", "backbone.lora": str(folder / LORA_FILE)}
    if method == "dreambooth":
        return {"backbone.unet": str(folder / "pipeline" / "unet")}
    return {"prompt.token": domain.token, "prompt.token_file": str(folder / "learned_embeds.safetensors")}


def captions_file(
    recipe: Recipe, folder: str, splits: tuple[str, ...], out: Path, author: Author, report: Report
) -> Path:
    """Captions of these splits by `author`, the recipe's, one file for all runs in `out`."""
    return write_captions(recipe, folder, splits, captions_path(recipe, folder, out), author, report)


def write_captions(
    recipe: Recipe, folder: str, splits: tuple[str, ...], file: Path, author: Author, report: Report
) -> Path:
    """The file, to which the captions of these splits by `author`, the recipe's, that it lacks are added."""
    name, path = split_name(folder)
    for split in splits:
        captions_of(
            open_data(folder, recipe.task, split),
            None,
            author,
            written_to=file,
            progress=lambda p: report(f"caption {name or path.name}", p.done, p.total),
        )
    return file


def captions_path(recipe: Recipe, folder: str, out: Path) -> Path:
    """Where `captions_file` writes: one file per data set, captioner and minimum length."""
    name, path = split_name(folder)
    return out / "captions" / f"{name or path.resolve().name}_{recipe.captioner}_min{recipe.data.min_tokens}.jsonl"
