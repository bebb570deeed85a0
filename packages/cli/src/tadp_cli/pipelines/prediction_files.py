"""A prediction as files below the folder that the user names."""

import os
from pathlib import Path

from tadp_cli.run.output_paths import below
from tadp_heads.result_files import save_png
from tadp_heads.results import Result


def write_prediction(result: Result, out: Path, image_id: str, file_name: str) -> None:
    """ID_overlay.png, and before it the raw result, of the image's own size.

    segmentation: ID_mask.png, class ids with the palette. depth: ID_depth.png, 16-bit millimetres, and ID_depth.npy,
    float32 metres. detection: ID_boxes.json, a COCO data set of this one image whose annotations have a score. Of
    another task, what its result writes.
    """
    out.mkdir(parents=True, exist_ok=True)
    place = below(out, image_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    result.write(place.parent, place.name, file_name)
    save_png(result.overlay(), place.with_name(f"{place.name}_overlay.png"))


def is_written(out: Path, image_id: str) -> bool:
    """Whether the overlay is there, which is written last."""
    return os.path.isfile(below(out, f"{image_id}_overlay.png"))  # False for a name that is too long
