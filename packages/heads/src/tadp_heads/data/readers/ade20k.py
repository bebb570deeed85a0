"""ADE20K scene parsing, as ADEChallengeData2016.zip unpacks: 150 classes, label 0 is ignored."""

from pathlib import Path

import numpy as np

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs, pair_up
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import IGNORE_INDEX, Transform

_SPLITS = {"train": "training", "val": "validation"}


class ADE20K(SegmentationPairs):
    """`root` is ADEChallengeData2016; `split` is "train" (20210 images) or "val" (2000)."""

    def __init__(self, root: str | Path, split: str = "train", transform: Transform | None = None):
        if split not in _SPLITS:
            raise ValueError(f"unknown split {split!r} of ADE20K; choose from {', '.join(_SPLITS)}")
        self.root = Path(root)
        if (self.root / "ADEChallengeData2016").is_dir():
            self.root = inside(self.root, self.root / "ADEChallengeData2016")
        top = self.root
        images = files_by_id(require_folder(top / "images" / _SPLITS[split], "a folder of images", top), root=top)
        folder = require_folder(top / "annotations" / _SPLITS[split], "a folder of masks", top)
        masks = files_by_id(folder, (".png",), top)
        classes = read_object_names(inside(top, top / "objectInfo150.txt"))
        # Label 0 is "other"; label k is class k - 1 (reduce_zero_label of mmsegmentation).
        lookup = np.full(256, IGNORE_INDEX, dtype=np.uint8)
        lookup[1 : len(classes) + 1] = np.arange(len(classes))
        super().__init__(pair_up(images, masks, tuple(images)), classes, lookup=lookup, transform=transform)


def read_object_names(path: Path) -> tuple[str, ...]:
    """The first synonym of each class of objectInfo150.txt, a table of tabs with one line of headings."""
    rows = [line.split("\t") for line in read_lines(path, "classes as the download has them")[1:]]
    names = tuple(row[-1].split(",")[0].split(";")[0].strip() for row in rows)
    if len(names) != 150 or any(len(row) < 5 for row in rows):
        raise DataError(
            path,
            found=f"{len(names)} lines of classes",
            expected="150, five columns each",
            fix="take the file of the download",
        )
    return names
