"""A user's own segmentation data: images/, masks/, classes.txt and split files."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tadp_heads.data.class_names import default_prompt_names
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder, split_ids
from tadp_heads.data.readers.color_masks import LABEL_MAP, read_color_table
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs, pair_up
from tadp_heads.data.readers.split_files import CLASSES_FILE
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import IGNORE_INDEX, Color, Transform
from tadp_heads.data.settings import DataSettings, read_settings

MASK_SUFFIXES = (".png", ".bmp", ".tif", ".tiff", ".gif", ".jpg", ".jpeg")


class SegmentationFolder(SegmentationPairs):
    """images/NAME.jpg with masks/NAME.png: one byte per pixel, line k of classes.txt names id k, others are ignored.

    Or JPEGImages/ and SegmentationClass/ with labelmap.txt, as CVAT writes them. tadp.toml may name the classes, ignore
    or merge some, and give colours in place of ids. `split` names a file of ids (train -> train.txt); None takes every
    image.
    """

    def __init__(self, root: str | Path, split: str | None = None, transform: Transform | None = None):
        self.root = Path(root)
        images, masks = mask_files(self.root)
        ids = split_ids(split_folder(self.root), split, images)
        super().__init__(pair_up(images, masks, ids), transform=transform, **mask_reading(self.root, masks))


def mask_reading(root: Path, masks: Mapping[str, Path]) -> dict:
    """Arguments of SegmentationPairs: classes, what a mask's values or colours are among them, colours to draw in."""
    settings = read_settings(root)
    colors = read_color_table(root, settings)
    names = settings.classes or (read_classes(root) if colors is None else tuple(colors.colors))
    if colors is not None and set(names) != set(colors.colors):
        names = tuple(colors.colors)  # classes.txt or tadp.toml may then name fewer, by ignore or remap
    classes, lookup = _classes(names, settings)
    settings.check_prompts(classes, root)
    palette = _own_palette(masks, len(names)) if colors is None else list(colors.colors.values())
    return {
        "classes": classes,
        "lookup": lookup,
        "colors": colors,
        "palette": None if palette is None else [palette[lookup.tolist().index(i)] for i in range(len(classes))],
        "prompt_names": settings.prompt_names(classes, default_prompt_names(classes)),
    }


def _classes(names: Sequence[str], settings: DataSettings) -> tuple[tuple[str, ...], np.ndarray]:
    """Classes after `ignore` and `remap`, and (256,) uint8 from the masks' values to them."""
    kept = {number: settings.remap.get(name, name) for number, name in enumerate(names) if name not in settings.ignore}
    kept = {number: name for number, name in kept.items() if number not in settings.ignore}
    classes = tuple(dict.fromkeys(kept.values()))
    lookup = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    for number, name in kept.items():
        lookup[number] = classes.index(name)
    return classes, lookup


def _own_palette(masks: Mapping[str, Path], count: int) -> list[Color] | None:
    """The palette of the first mask, if it has one with a colour of its own for each of `count` ids."""
    first = next(iter(masks.values()), None)
    if first is None:
        return None
    try:
        with Image.open(first) as image:
            values = (image.getpalette() or []) if image.mode == "P" else []
    except (OSError, SyntaxError, ValueError):  # whatever is wrong with it is reported when it is read
        return None
    colors = list(zip(values[0::3], values[1::3], values[2::3], strict=False))[:count]
    return colors if len(set(colors)) == count else None


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
            fix="merge classes; a mask has one byte per pixel",
        )
    return classes


def has_masks(root: Path) -> bool:
    """Whether the folder has masks: masks/, or SegmentationClass/ with CVAT's labelmap.txt."""
    return (root / "masks").is_dir() or _is_from_cvat(root)


def split_folder(root: Path) -> Path:
    """Where the split files lie."""
    lists = root / "ImageSets" / "Segmentation"
    return lists if _is_from_cvat(root) and lists.is_dir() else root


def mask_files(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by id."""
    names = ("JPEGImages", "SegmentationClass") if _is_from_cvat(root) else ("images", "masks")
    images = files_by_id(require_folder(root / names[0], "a folder of images", root), root=root)
    masks = files_by_id(require_folder(root / names[1], "a folder of masks", root), MASK_SUFFIXES, root)
    if not images:
        raise DataError(root / names[0], found="no image", expected="JPEG or PNG files", fix="put the images there")
    return images, masks


def _is_from_cvat(root: Path) -> bool:
    return not (root / "masks").is_dir() and (root / "SegmentationClass").is_dir() and (root / LABEL_MAP).is_file()
