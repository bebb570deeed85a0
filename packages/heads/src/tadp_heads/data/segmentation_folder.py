"""A user's own segmentation data: images/, masks/, classes.txt and split files."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path

from tadp_heads.data.check import CheckReport
from tadp_heads.data.errors import DataError
from tadp_heads.data.reading import files_by_id, read_lines, require_folder, split_ids
from tadp_heads.data.sample import Color, Transform
from tadp_heads.data.segmentation_pairs import SegmentationPairs, pair_up

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")
CLASSES_FILE = "classes.txt"


class SegmentationFolder(SegmentationPairs):
    """images/NAME.jpg with masks/NAME.png: one byte a pixel, line k of classes.txt names id k, ids beyond are ignored.

    `split` names a file of ids (train -> train.txt); None takes every image.
    """

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        transform: Transform | None = None,
        palette: Sequence[Color] | None = None,
    ):
        self.root = Path(root)
        classes = read_classes(self.root)
        images, masks = _files(self.root)
        ids = split_ids(self.root, split, images)
        super().__init__(pair_up(images, masks, ids), classes, palette=palette, transform=transform)


def check(root: str | Path) -> CheckReport:
    """Looks at every image and mask, and at the split files; only a missing folder or class list raises."""
    root = Path(root)
    classes = read_classes(root)
    images, masks = _files(root)
    paired = [name for name in images if name in masks]
    problems = [
        str(DataError(images[name], found="no mask of its name", expected=f"masks/{name}.png", fix="add it"))
        for name in images
        if name not in masks
    ]
    problems += [
        str(DataError(masks[name], found="no image of its name", expected=f"images/{name}.*", fix="add or delete it"))
        for name in masks
        if name not in images
    ]
    return SegmentationPairs(pair_up(images, masks, paired), classes).check(
        root, problems=[*problems, *check_splits(root, images)]
    )


def check_splits(root: Path, known: dict[str, Path]) -> list[str]:
    """Problems of the split files of a user's folder: malformed ones, unknown ids, ids shared by train and another."""
    problems, splits = [], {}
    for path in sorted(root.glob("*.txt")):
        if path.name == CLASSES_FILE:
            continue
        try:
            splits[path.stem] = set(split_ids(root, path.stem, known))
        except DataError as error:
            problems.append(str(error))
    for first, second in combinations(splits, 2):
        shared = sorted(splits[first] & splits[second])
        # Several splits of one purpose may overlap (val and val_small); training images in a test split may not.
        if shared and ("train" in first) != ("train" in second):
            error = DataError(
                root / f"{first}.txt",
                found=f"{len(shared)} ids that are also in {second}.txt, such as {shared[0]!r}",
                expected="no image both for training and for scoring",
                fix="take them off one of the two files",
            )
            problems.append(str(error))
    return problems


def read_classes(root: Path) -> tuple[str, ...]:
    """The lines of classes.txt: 1 to 255 names, each once."""
    require_folder(root, "a folder with images/, masks/ and classes.txt")
    path = root / CLASSES_FILE
    classes = read_lines(path, "class names")
    if len(classes) > 255:
        raise DataError(
            path,
            found=f"{len(classes)} classes",
            expected="at most 255",
            fix="merge classes; a mask has one byte a pixel",
        )
    return classes


def _files(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    images = files_by_id(require_folder(root / "images", "a folder of images"))
    masks = files_by_id(require_folder(root / "masks", "a folder of masks"), MASK_SUFFIXES)
    if not images:
        raise DataError(root / "images", found="no image", expected="JPEG or PNG files", fix="put the images there")
    return images, masks
