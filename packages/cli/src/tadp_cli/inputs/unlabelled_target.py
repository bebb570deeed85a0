"""Unlabelled images of the target domain with their prompts, for training by the model's own predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tadp_captioning import find_images
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.domain_images import domain_images
from tadp_cli.prompts.builder import PromptContexts, Prompts
from tadp_cli.prompts.captions import Author, captions_of
from tadp_cli.prompts.cleaned import cleaned_captions
from tadp_cli.prompts.prompter import Prompter
from tadp_heads.atomic_files import write_text
from tadp_heads.data import SampleDataset
from tadp_heads.data.unlabelled import UnlabelledImages
from tadp_heads.training import TargetDomain

CAPTIONS_FILE = "target_captions.jsonl"
_AS_TEACHER = {"teacher": True, "student": False, "both": True, "neither": False}
_AS_STUDENT = {"teacher": False, "student": True, "both": True, "neither": False}
"""{self_training.prompted: whether the prompt has the modifier}."""


def check_self_training(recipe: Recipe) -> None:
    """Raise ValueError for a recipe whose prompts would read labels, or cannot be made for images alone."""
    kind = recipe.prompt.kind
    if recipe.task not in ("segmentation", "detection"):
        raise ValueError(f"self-training of {recipe.task}: expected segmentation or detection")
    if kind == "oracle" or recipe.needs_presence or not recipe.kind.is_text:
        raise ValueError(f"self-training reads no label of the target, and prompt {kind!r} is not made for it: caption")


def unlabelled_target(
    recipe: Recipe, source: SampleDataset, backbone: Any, out: Path, device: str, report: Report
) -> TargetDomain:
    """The images of recipe.self_training under the prompts of teacher and student; no label file is opened."""
    check_self_training(recipe)
    section = recipe.self_training
    files = find_images(domain_images(section.images, section.split, recipe.task))
    images = UnlabelledImages(files, recipe.task, source.classes, source.transform, source.prompt_names)
    captions = None
    if recipe.needs_captions:
        given = Path(section.captions) if section.captions else None
        author = Author(**recipe.captioning, device=device)
        captions = captions_of(
            images, given, author, written_to=out / CAPTIONS_FILE, progress=_caption_progress(report)
        )
        if given is None and recipe.prompt.domain:
            cleaner, domain = recipe.test.cleaner, recipe.prompt.target
            captions = cleaned_captions(captions, images.ids, cleaner, domain, NO_LIMITS_GIVEN, report)

    def prompts(modified: bool) -> Prompts:
        asked = recipe if modified else recipe.replace(**{"prompt.modifier": "null"})
        return Prompter.of(asked).of_data(images, backbone, captions)

    teacher, student = prompts(_AS_TEACHER[section.prompted]), prompts(_AS_STUDENT[section.prompted])
    both = Prompts(teacher.texts, styled=(student.texts,))
    return TargetDomain(images=images, contexts=PromptContexts(both, backbone), config=section)


def write_list(file: Path, images: Path | Sequence[Path]) -> None:
    """The images as a list that `find_images` reads, one absolute path per line."""
    files = find_images(images if isinstance(images, Path) else list(images)).values()
    write_text(file, "".join(f"{path.resolve()}\n" for path in files))


def _caption_progress(report: Report) -> Any:
    return lambda p: report("caption target", p.done, p.total)
