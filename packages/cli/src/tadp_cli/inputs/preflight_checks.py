"""What would fail after hours of training fails before it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from tadp_captioning import CaptionStore
from tadp_captioning.matching import captions_of_files
from tadp_cli.config.recipe import Recipe
from tadp_cli.doctor.findings import GIB
from tadp_cli.doctor.machine import free_memory
from tadp_heads.data import SampleDataset
from tadp_heads.data.check.dataset import sampled_doubts
from tadp_heads.data.check.training import images_of_both
from tadp_heads.data.class_names import class_mapping
from tadp_heads.data.registry import open_data
from tadp_heads.registry import get_task, heads_of
from tadp_heads.training.loss import check_options
from tadp_heads.training.memory.tracker import weight_bytes

logger = logging.getLogger(__name__)


def check_protocol(recipe: Recipe) -> None:
    """Raise for a protocol that the task lacks."""
    protocols = get_task(recipe.task).protocols
    if recipe.protocol and recipe.protocol not in protocols:
        raise ValueError(f"unknown {recipe.task} protocol {recipe.protocol!r}; choose from {', '.join(protocols)}")


def check_loss(recipe: Recipe) -> None:
    """Raise for settings that the task's loss lacks or refuses."""
    check_options(get_task(recipe.task), recipe.loss)


def check_head(recipe: Recipe, levels: Sequence[Any], classes: Sequence[str]) -> None:
    """Raise for settings that the task's head lacks or refuses, or that no memory holds; `levels`: of the backbone."""
    known, name = heads_of(recipe.task), recipe.head.get("name")
    if name is not None and name not in known:
        raise ValueError(
            f"unknown {known.kind} {name!r} in head.name; choose from {', '.join(known)}, or pass the file that "
            "registers it with --plugin"
        )
    try:
        with torch.device("meta"):
            head = get_task(recipe.task).build_head(levels, classes, **recipe.head)
    except (TypeError, ValueError) as error:
        raise ValueError(f"settings of head: {error}") from error
    needed, memory = weight_bytes(head), free_memory()
    if memory is not None and needed > memory[1]:
        sizes = f"{needed / GIB:.0f} GiB of weights, and this machine has {memory[1] / GIB:.0f} GiB of memory"
        raise ValueError(f"settings of head: they make {sizes}; take smaller ones")


def check_splits(recipe: Recipe, train: SampleDataset, val: SampleDataset) -> None:
    """`check_images` of both; warn of images that are trained on and evaluated."""
    for dataset, split in ((train, recipe.data.train), (val, recipe.data.val)):
        check_images(dataset, recipe.data.folder, split)
    shared = images_of_both(train, val)
    if shared:
        logger.warning(
            "%s: %d images are in both training and evaluation, such as %r: the metrics are biased",
            recipe.data.folder,
            len(shared),
            shared[0],
        )


def check_images(dataset: SampleDataset, folder: str, split: str) -> None:
    """Raise for a split without images or whose first files are malformed; warn of labels that can hardly be meant."""
    if not len(dataset):
        raise ValueError(f"{folder}: the split {split!r} has no images; add some, or name another split")
    for doubt in sampled_doubts(dataset, Path(folder)):
        logger.warning("%s; `tadp data check` reads all of %s", doubt, folder)


def check_target(recipe: Recipe) -> None:
    """Raise unless the recipe's target can be evaluated: its split, its classes, its captions."""
    if not recipe.test.folder:
        return
    for split in recipe.test.splits:
        _check_split(recipe, split)


def _check_split(recipe: Recipe, split: str) -> None:
    check_classes(recipe, recipe.test.folder, split)
    if recipe.needs_captions and recipe.test.captions:
        target = open_data(recipe.test.folder, recipe.task, split)
        files = target.image_files
        store = captions_of_files(CaptionStore.read(recipe.test.captions), {key: files[key] for key in target.ids})
        missing = store.missing(target.ids)
        if missing:
            raise ValueError(
                f"{recipe.test.captions} has no caption for {len(missing)} of {len(target)} images of "
                f"{recipe.test.folder}, such as {missing[0]!r}: caption them with `tadp caption`"
            )


def check_classes(recipe: Recipe, target: str, split: str) -> None:
    """Raise for a target that lacks labels, or has those of other classes than the source."""
    known = open_data(recipe.data.folder, recipe.task, recipe.data.train).classes
    wanted = open_data(target, recipe.task, split).classes
    if recipe.task == "detection":
        class_mapping(known, wanted)
    elif known != wanted:
        raise ValueError(
            f"{target} has the classes {', '.join(wanted)}, and the source {', '.join(known)}: bring them to the same, "
            "or name the folder of its images alone as --target, to have them predicted"
        )
