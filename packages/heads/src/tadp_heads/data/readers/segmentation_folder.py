"""A user's own segmentation data: images/, masks/, classes.txt and split files."""

from collections.abc import Sequence
from pathlib import Path

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder, split_ids
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs, pair_up
from tadp_heads.data.readers.split_files import CLASSES_FILE
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import Color, Transform

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")


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
        images, masks = mask_files(self.root)
        ids = split_ids(self.root, split, images)
        super().__init__(pair_up(images, masks, ids), classes, palette=palette, transform=transform)


def read_classes(root: Path) -> tuple[str, ...]:
    """The lines of classes.txt: 1 to 255 names, each once."""
    require_folder(root, "a folder with images/, masks/ and classes.txt")
    path = inside(root, root / CLASSES_FILE)
    classes = read_lines(path, "class names")
    if len(classes) > 255:
        raise DataError(
            path,
            found=f"{len(classes)} classes",
            expected="at most 255",
            fix="merge classes; a mask has one byte a pixel",
        )
    return classes


def mask_files(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by id."""
    images = files_by_id(require_folder(root / "images", "a folder of images", root), root=root)
    masks = files_by_id(require_folder(root / "masks", "a folder of masks", root), MASK_SUFFIXES, root)
    if not images:
        raise DataError(root / "images", found="no image", expected="JPEG or PNG files", fix="put the images there")
    return images, masks
