"""Street scenes with Cityscapes' 19 classes: Cityscapes, Dark Zurich, Nighttime Driving and ACDC as downloaded."""

from pathlib import Path

import numpy as np
from torchvision.datasets import Cityscapes

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, require_folder
from tadp_heads.data.readers.driving_layouts import LAYOUTS
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs, identity_lookup
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import IGNORE_INDEX, Transform

_SCORED = sorted((c for c in Cityscapes.classes if c.train_id not in (-1, 255)), key=lambda c: c.train_id)
CITYSCAPES_CLASSES = tuple(c.name for c in _SCORED)
CITYSCAPES_PALETTE = tuple(c.color for c in _SCORED)


class DrivingSegmentation(SegmentationPairs):
    """One of LAYOUTS by name. Ids are the paths below the split's folder without suffix, as caption files have them.

    Labels are read from ..._labelTrainIds.png where there is one, else from ..._labelIds.png by Cityscapes' own table.
    """

    def __init__(self, name: str, root: str | Path, split: str, transform: Transform | None = None):
        if name not in LAYOUTS:
            raise ValueError(f"unknown driving data set {name!r}; choose from {', '.join(LAYOUTS)}")
        layout = LAYOUTS[name]
        if split not in layout.splits:
            raise ValueError(f"split {split!r} of {name} has no labels; choose from {', '.join(layout.splits)}")
        self.root = Path(root)
        images = driving_images(name, self.root, split)
        labels = require_folder(self.root / layout.labels.format(split=split), "a folder of labels", self.root)
        stems = {item: item.removesuffix(layout.image_ending) + layout.label_ending for item in images}
        kind = "TrainIds" if (labels / f"{next(iter(stems.values()))}TrainIds.png").is_file() else "Ids"
        super().__init__(
            {item: (images[item], inside(self.root, labels / f"{stem}{kind}.png")) for item, stem in stems.items()},
            CITYSCAPES_CLASSES,
            palette=CITYSCAPES_PALETTE,
            lookup=identity_lookup(19) if kind == "TrainIds" else _label_id_lookup(),
            transform=transform,
        )


def driving_images(name: str, root: Path, split: str) -> dict[str, Path]:
    """{id: image file} of a split with or without labels, of one of LAYOUTS."""
    layout = LAYOUTS[name]
    folder = require_folder(root / layout.images.format(split=split), f"the images of {name}'s split {split}", root)
    files = files_by_id(folder, root=root)
    images = {item: file for item, file in files.items() if item.endswith(layout.image_ending)}
    if not images:
        raise DataError(
            folder,
            found="no image",
            expected=f"files *{layout.image_ending}.png",
            fix="check that the archive was unpacked here",
        )
    return images


def label_ids() -> np.ndarray:
    """(256,) uint8: train ids -> Cityscapes' label ids; 0, "unlabeled", for all others."""
    lookup = np.zeros(256, dtype=np.uint8)
    for item in _SCORED:
        lookup[item.train_id] = item.id
    return lookup


def _label_id_lookup() -> np.ndarray:
    """(256,) uint8: Cityscapes' label ids -> train ids."""
    lookup = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    for item in _SCORED:
        lookup[item.id] = item.train_id
    return lookup
