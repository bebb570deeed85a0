"""BDD100K's semantic segmentation (10K images) in Cityscapes' 19 classes, and its images by night alone."""

import json
from collections.abc import Iterable
from pathlib import Path

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder
from tadp_heads.data.readers.driving import CITYSCAPES_CLASSES, CITYSCAPES_PALETTE
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs, identity_lookup
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import Transform

_LAYOUTS = (
    ("images/10k/{split}", "labels/sem_seg/masks/{split}", ""),
    ("seg/images/{split}", "seg/labels/{split}", "_train_id"),
)
"""(images, labels, what a label's name adds) of the downloads of 2020 and 2018."""
_ATTRIBUTES = (
    *("labels/det_20/det_{split}.json", "labels/bdd100k_labels_images_{split}.json"),
    *("labels/10k/{split}.json", "labels/images_10k_{split}.json"),
)
"""Files of frames with their attributes."""
_NIGHT_LIST = "night_{split}.txt"


class BDD100KSegmentation(SegmentationPairs):
    """FOLDER as downloaded; `night`: the images whose time of day is night.

    Which these are, a list FOLDER/night_SPLIT.txt of image names says, such as the one of BDD100K-night (Sakaridis et
    al. 2020), else the attribute `timeofday` in BDD100K's own label files.
    """

    def __init__(self, root: str | Path, split: str, transform: Transform | None = None, night: bool = False):
        root = Path(root)
        images, labels, ending = next(
            (parts for parts in _LAYOUTS if (root / parts[0].format(split=split)).is_dir()), _LAYOUTS[0]
        )
        folder = require_folder(root / images.format(split=split), f"the images of bdd100k's split {split}", root)
        masks = require_folder(root / labels.format(split=split), "a folder of labels", root)
        files = files_by_id(folder, root=root)
        chosen = sorted(set(files) & _night(root, split)) if night else sorted(files)
        if not chosen:
            raise DataError(
                folder, found="no image by night", expected="some that night_SPLIT.txt lists", fix="check the list"
            )
        super().__init__(
            {item: (files[item], inside(root, masks / f"{item}{ending}.png")) for item in chosen},
            CITYSCAPES_CLASSES,
            palette=CITYSCAPES_PALETTE,
            lookup=identity_lookup(19),
            transform=transform,
        )


def _night(root: Path, split: str) -> set[str]:
    """Names without suffix of the images by night."""
    listed = inside(root, root / _NIGHT_LIST.format(split=split))
    if listed.is_file():
        return {Path(line).stem for line in read_lines(listed, "names of images by night")}
    found: set[str] = set()
    there = [file for name in _ATTRIBUTES if (file := inside(root, root / name.format(split=split))).is_file()]
    for file in there:
        found |= set(_by_night(file))
    if not there:
        raise DataError(
            root,
            found=f"neither {listed.name} nor {_ATTRIBUTES[0].format(split=split)}",
            expected="one of them, which lists the images by night",
            fix="add a list of their names, or BDD100K's detection labels",
        )
    return found


def _by_night(file: Path) -> Iterable[str]:
    try:
        frames = json.loads(file.read_text(encoding="utf-8"))
        return [Path(f["name"]).stem for f in frames if f.get("attributes", {}).get("timeofday") == "night"]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(
            file, found=f"{type(error).__name__}: {error}", expected="a list of frames", fix="download it again"
        ) from error
