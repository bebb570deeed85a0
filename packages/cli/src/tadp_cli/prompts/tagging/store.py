"""What a run keeps of its presence captioner."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.v2.functional import pil_to_tensor

from tadp_backbone import DiffusionBackbone
from tadp_captioning.mentions.words import ClassMentions, class_words
from tadp_captioning.taggers.clip import ClipTagger
from tadp_captioning.taggers.word_probabilities import WordProbabilities
from tadp_cli.config.recipe import PresenceConfig, Recipe
from tadp_cli.config.removed import without_removed
from tadp_cli.console.reporter import Report
from tadp_cli.prompts.authors import captioner_of
from tadp_cli.run.records import read_object
from tadp_heads import PerceptionModel
from tadp_heads.atomic_files import replacing, write_json
from tadp_heads.data import SampleDataset
from tadp_heads.pretrained import read_safetensors
from tadp_heads.tagging import Calibration, PresenceHead, SelfPrompting
from tadp_heads.tagging.own_mask import OwnMask
from tadp_heads.tagging.presence import Presence
from tadp_heads.tagging.taggers import Captions, FirstPass, Tagger, Untrained, images_in_batches, in_batches, tagged

FOLDER = "presence"
_FILE, _TRAINED = "presence.json", "out_of_fold.safetensors"


@dataclass(frozen=True)
class FittedTagger:
    """A tagger and its threshold, and what it says of the images it was learned from, each tagged by one that was
    not trained on it."""

    tagger: Tagger
    calibration: Calibration
    out_of_fold: Presence

    def find(self, dataset: SampleDataset, captions: Captions | None, report: Report) -> Presence:
        """Of a data set whose labels it does not see."""
        batches = images_in_batches(dataset, captions)
        return tagged(self.tagger, self.calibration.threshold, batches, report, len(dataset))

    def find_in(self, ids: Sequence[str], images: Sequence[Image.Image], captions: Sequence[str]) -> Presence:
        """Of loose images of any sizes."""
        pixels = (pil_to_tensor(image.convert("RGB")) for image in images)
        batches = in_batches(zip(ids, pixels, captions, strict=True))
        return tagged(self.tagger, self.calibration.threshold, batches, lambda *_: None, len(ids))

    def save(self, run: Path, recipe: Recipe) -> None:
        """Write RUN/presence: the tagger's weights, the threshold, the findings on the training images."""
        folder = run / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _FILE).unlink(missing_ok=True)  # written last: where it is, the rest is there and of its settings
        if isinstance(self.tagger, FirstPass):
            self.tagger.head.save_pretrained(folder)
        elif isinstance(self.tagger, OwnMask):
            self.tagger.learned.save_pretrained(folder)
        ids = list(self.out_of_fold.probabilities)
        with replacing(folder / _TRAINED) as partial:
            save_file({"probabilities": self.out_of_fold.of(ids)}, partial)
        content = {"settings": settings(recipe), "names": self.tagger.names, **self.calibration._asdict()}
        content["images"] = ids
        write_json(folder / _FILE, content)


def settings(recipe: Recipe) -> dict[str, Any]:
    """All that decides what a tagger learns, as JSON has it."""
    decisive: dict[str, Any] = {
        "data": asdict(recipe.data),
        "presence": asdict(recipe.presence),
        "backbone": asdict(recipe.backbone),
    }
    if recipe.presence.source == "mask":
        decisive |= {"head": recipe.head, "lr": recipe.train.lr, "batch_size": recipe.train.batch_size}
    return json.loads(json.dumps(decisive))


def is_kept(run: Path, recipe: Recipe, names: Sequence[str], ids: Sequence[str]) -> bool:
    """Whether a run keeps a tagger of these classes, learned from these images as the recipe says."""
    path = run / FOLDER / _FILE
    if not path.is_file():
        return False
    known = read_object(path, "settings", "names", "images")
    then = known["settings"]
    if isinstance(then, dict) and isinstance(then.get("presence"), dict):  # of before a setting was there
        then = without_removed({**then, "presence": {**asdict(PresenceConfig()), **then["presence"]}})
    return (then, known["names"], known["images"]) == (settings(recipe), list(names), list(ids))


def read_tagger(run: Path, recipe: Recipe, backbone: DiffusionBackbone, device: str) -> FittedTagger | None:
    """What `save` wrote; None: nothing was learned yet."""
    path = run / FOLDER / _FILE
    if not path.is_file():
        return None
    known = read_object(path, "names", "images", *Calibration._fields)
    tagger = make_tagger(recipe, backbone, known["names"], device)
    if isinstance(tagger, FirstPass):
        tagger.head = PresenceHead.from_pretrained(path.parent).to(device)
    elif isinstance(tagger, OwnMask):
        tagger.learned = SelfPrompting.from_pretrained(path.parent).to(device)
    calibration = Calibration(*(known[field] for field in Calibration._fields))
    rows = read_safetensors(path.parent / _TRAINED)["probabilities"]
    found = dict(zip(known["images"], rows, strict=True))
    return FittedTagger(tagger, calibration, Presence(tagger.names, found, calibration.threshold))


def tagger_of(run: Path, recipe: Recipe, model: PerceptionModel, device: str) -> FittedTagger | None:
    """The run's tagger, where its prompts need one."""
    if not recipe.needs_presence:
        return None
    fitted = read_tagger(run, recipe, model.backbone, device)
    if fitted is None:
        raise ValueError(f"{run} has lost its folder presence, which makes its prompts: train it again")
    return fitted


def make_tagger(
    recipe: Recipe, backbone: DiffusionBackbone, names: tuple[str, ...], device: str
) -> FirstPass | OwnMask | Untrained:
    """The recipe's, without weights where it is trained."""
    section, image_range = recipe.presence, recipe.backbone.image_range
    if section.source == "clip":
        return Untrained(ClipTagger.from_pretrained(section.clip, names, device))
    if section.source == "captioner":
        return Untrained(WordProbabilities(captioner_of(recipe, device), names))
    words, captioned = {name: class_words(name) for name in names}, section.first_pass == "caption"
    if section.source == "mask":
        by_class = recipe.backbone.map_index == "class"
        return OwnMask(backbone, words, image_range, by_class=by_class, captioned=captioned)
    return FirstPass(backbone, words, image_range, ClassMentions(names) if captioned else None)
