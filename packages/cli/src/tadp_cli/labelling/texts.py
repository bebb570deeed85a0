"""Texts that a user gives each image to be predicted: captions of a file, or selected class names."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image

from tadp_captioning import CaptionRecord, CaptionStore, class_names_prompt
from tadp_captioning.matching import captions_of_files
from tadp_cli.config.recipe import Recipe
from tadp_cli.labelling.selected_names import SelectedNames
from tadp_cli.prompts.kind import prompt_kind
from tadp_heads.tagging.presence import Presence


@dataclass(frozen=True)
class GivenTexts:
    """Of images by id; those that the file does not have are in neither mapping."""

    path: Path
    texts: Mapping[str, str] | None = None
    """Captions, or names in place of captions; None: the captioner writes them."""
    names: Mapping[str, tuple[str, ...]] | None = None
    """Selected names; None: captions are given."""

    def __contains__(self, image_id: str) -> bool:
        return image_id in ((self.texts or {}) if self.names is None else self.names)

    def part(self, ids: Collection[str]) -> "GivenTexts":
        """Those of some images alone."""
        texts = None if self.texts is None else {key: text for key, text in self.texts.items() if key in ids}
        names = None if self.names is None else {key: names for key, names in self.names.items() if key in ids}
        return GivenTexts(self.path, texts, names)

    def made(self, record: CaptionRecord | None, image_id: str) -> bool:
        """Whether a prediction was made from what is given now, as its record says."""
        if record is None or image_id not in self:
            return False
        if self.names is not None:
            return record.extra.get("names") == list(self.names[image_id])
        return self.texts is not None and record.caption == self.texts[image_id]

    def recorded(self, image_id: str) -> dict[str, list[str]]:
        """What the record of a prediction says of it."""
        return {} if self.names is None else {"names": list(self.names[image_id])}


def check_names_classes(recipe: Recipe) -> None:
    """Raise ValueError for prompts that are the same whatever is in an image."""
    kind = prompt_kind(recipe.prompt.kind)
    if not ({"captions", "tags"} & kind.needs or kind.sampled):
        raise ValueError(
            f"the run's prompts, {recipe.prompt.kind!r}, name no classes of single images: leave selected names out"
        )


def captions_given(path: Path, files: Mapping[str, Path]) -> GivenTexts:
    """The captions of a file in any of the formats of caption files."""
    found = captions_of_files(CaptionStore.read(path), files)
    return GivenTexts(path, {record.id: record.caption for record in found.records() if record.error is None})


def names_given(
    path: Path, files: Mapping[str, Path], recipe: Recipe, classes: Sequence[str], prompt_names: Sequence[str]
) -> GivenTexts:
    """Selected names; they replace the caption, except in prompts of a caption and the classes present."""
    check_names_classes(recipe)
    selected = SelectedNames.read(path, classes, prompt_names)
    found = {image_id: selected.of(image_id, file) for image_id, file in files.items()}
    names = {image_id: chosen for image_id, chosen in found.items() if chosen is not None}
    texts = {image_id: class_names_prompt(chosen) for image_id, chosen in names.items()}
    return GivenTexts(path, None if {"captions", "tags"} <= recipe.kind.needs else texts, names)


class SelectedTags:
    """In place of a run's image tagger: a selected class is in the image, no other is."""

    def __init__(self, classes: Sequence[str], chosen: Sequence[Sequence[str]]):
        self.classes, self.chosen = tuple(classes), chosen

    def find_in(self, ids: Sequence[str], images: Sequence[Image.Image], captions: Sequence[str]) -> Presence:
        """As `FittedTagger.find_in`."""
        rows = [torch.tensor([float(name in set(names)) for name in self.classes]) for names in self.chosen]
        return Presence(self.classes, dict(zip(ids, rows, strict=True)), 0.5)
