"""Predicted masks as the evaluation servers of street scenes take them."""

import io
import json
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from tadp_heads.atomic_files import replacing
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import require_folder
from tadp_heads.data.readers.driving import CITYSCAPES_CLASSES, label_ids

_MASK = "_mask.png"
_EARLIEST = (1980, 1, 1, 0, 0, 0)
"""Time of every entry, so that equal predictions give equal files."""
IDS = ("label", "train")


def write_submission(predictions: Path, out: Path, ids: str = "label") -> int:
    """A .zip of the masks below a folder of predictions, each under its image's name as 8-bit PNG; their number.

    `ids`: "label" for Cityscapes' label ids (road is 7), "train" for its train ids (road is 0), which predictions have.
    Raise ValueError for predictions of other classes.
    """
    if ids not in IDS:
        raise ValueError(f"ids is {ids!r}, expected {' or '.join(IDS)}")
    masks = sorted(require_folder(predictions, "predictions of `tadp predict`").rglob(f"*{_MASK}"))
    _check_classes(predictions / "classes.json")
    if not masks:
        raise DataError(predictions, found="no mask", expected=f"files *{_MASK}", fix="predict some images first")
    lookup = label_ids() if ids == "label" else np.arange(256, dtype=np.uint8)
    with replacing(out) as partial, zipfile.ZipFile(partial, "w") as archive:
        for mask in masks:
            name = mask.relative_to(predictions).as_posix().removesuffix(_MASK) + ".png"
            pixels = io.BytesIO()
            with Image.open(mask) as image:
                Image.fromarray(lookup[np.array(image)]).save(pixels, format="PNG")
            archive.writestr(zipfile.ZipInfo(name, _EARLIEST), pixels.getvalue())
    return len(masks)


def _check_classes(file: Path) -> None:
    """Raise ValueError unless the predictions are of Cityscapes' 19 classes in their order."""
    if not file.is_file():
        raise DataError(file, found="no file", expected="the classes of the masks", fix="predict with this version")
    names = tuple(row.get("name") for row in json.loads(file.read_text(encoding="utf-8")))
    if names != CITYSCAPES_CLASSES:
        raise ValueError(
            f"{file}: masks of {', '.join(map(str, names))}; a server of street scenes takes Cityscapes' classes: "
            "predict with a run that was trained on them"
        )
