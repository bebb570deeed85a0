"""Predictions as files below the folder that the user names."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

from PIL import Image

from tadp_captioning.jsonl import append_rows, read_rows
from tadp_cli.run.output_paths import below
from tadp_heads import PerceptionModel
from tadp_heads.atomic_files import write_json, write_text
from tadp_heads.data.readers.color_masks import LABEL_MAP
from tadp_heads.data.sample import Color
from tadp_heads.result_files import save_confidence, save_mask, save_png
from tadp_heads.results import Result, SegmentationResult
from tadp_heads.tiling.georeference import georeference
from tadp_heads.tiling.predict import ContextOf, Tiling, overlay_image, tiled_boxes, tiled_mask, write_tiled_mask
from tadp_heads.writers.formats import WRITERS
from tadp_heads.writers.objects import PredictedImage, objects_of

PNG = "png"
"""Masks, depth maps and overlays; detections as COCO's JSON per image."""
OBJECTS_FILE = "objects.jsonl"
CLASSES_FILE = "classes.json"


def check_format(name: str, tolerance: float, min_score: float, confidence: bool) -> None:
    """Raise ValueError for options of `tadp predict` that do not go together."""
    if name != PNG and name not in WRITERS:
        raise ValueError(f"unknown format {name!r}; choose from {', '.join((PNG, *WRITERS))}")
    if not 0 <= tolerance < 100:
        raise ValueError(f"--tolerance is {tolerance}, expected pixels, such as 0.5")
    if not 0 <= min_score <= 1:
        raise ValueError(f"--min-score is {min_score}, expected 0 to 1")


def annotation_settings(options: Any) -> dict[str, Any]:
    """What settings.json records of the format; nothing for PNG."""
    if options.format == PNG:
        return {}
    return {"format": options.format, "tolerance": options.tolerance, "min_score": options.min_score}


def write_classes(classes: Sequence[str], palette: Sequence[Color], out: Path) -> None:
    """classes.json: what the ids of masks are."""
    rows = [
        {"id": number, "name": name, "color": list(color)}
        for number, (name, color) in enumerate(zip(classes, palette, strict=True))
    ]
    write_json(out / CLASSES_FILE, rows)


def write_prediction(result: Result, out: Path, image_id: str, file_name: str) -> None:
    """ID_overlay.png, and before it the raw result, of the image's own size.

    segmentation: ID_mask.png, class ids with the palette. depth: ID_depth.png, 16-bit millimetres, and ID_depth.npy,
    float32 metres. detection: ID_boxes.json, a COCO data set of this one image whose annotations have a score. Of
    another task, what its result writes.
    """
    place = _place(out, image_id)
    result.write(place.parent, place.name, file_name)
    _save_overlay(result, place)


@dataclass(frozen=True)
class PredictionWriter:
    """Writes each result as it is predicted, and what is one file for all images at the end.

    For an annotation tool that is ID_overlay.png and objects.jsonl, from which the tool's files are written.
    """

    out: Path
    format: str
    tolerance: float
    min_score: float
    confidence: bool
    classes: tuple[str, ...]

    @classmethod
    def of(cls, options: Any, model: PerceptionModel, out: Path) -> Self:
        """With the options of `tadp predict`; ValueError where the model's task has not what they ask for."""
        if options.confidence and not hasattr(model.task, "predict_confident"):
            raise ValueError(f"a model for {model.config.task} has no confidence per pixel: leave --confidence out")
        if options.format != PNG and not model.config.classes:
            raise ValueError(f"a model for {model.config.task} finds no objects: leave --format {options.format} out")
        classes = model.config.classes
        return cls(out, options.format, options.tolerance, options.min_score, options.confidence, classes)

    def needs_confidence(self, model: PerceptionModel) -> bool:
        """Whether the model is asked for the probability of each pixel's class: also for the scores of regions."""
        return self.confidence or (self.format != PNG and hasattr(model.task, "predict_confident"))

    def write(self, result: Result, image_id: str, file: Any, shown: Result | None = None) -> None:
        """The files of one image; its overlay is the last of them, drawn from `shown` where that is given."""
        if self.format == PNG:
            write_prediction(result, self.out, image_id, file.name)
            return
        place = _place(self.out, image_id)
        self._add_objects(result, image_id, file)
        self._write_pixels(result, place)
        _save_overlay(shown or result, place)

    def write_tiled(
        self,
        model: PerceptionModel,
        image: Image.Image,
        image_id: str,
        file: Any,
        context_of: ContextOf,
        tiling: Tiling,
        report: Callable[[str, int, int], None],
    ) -> None:
        """The files of a large image, predicted in windows."""
        progress = partial(report, f"windows of {file.name}")
        if model.config.task == "detection":
            self.write(tiled_boxes(model, image, context_of, tiling, progress), image_id, file)
            return
        if self.format != PNG:
            found = tiled_mask(model, image, context_of, tiling, confidence=True, progress=progress)
            self.write(found, image_id, file, found.on(overlay_image(image)))
            return
        write_tiled_mask(
            model,
            image,
            context_of,
            tiling,
            _place(self.out, image_id),
            confidence=self.confidence,
            tags=georeference(file) if isinstance(file, Path) else {},
            progress=progress,
        )

    def finish(self, ids: Iterable[str]) -> None:
        """The annotation tool's files of these images, those of earlier calls too."""
        if self.format == PNG or not (self.out / OBJECTS_FILE).is_file():
            return
        # The last row of an image counts: a killed process wrote the one before.
        rows = {row["id"]: row for _, row in read_rows(self.out / OBJECTS_FILE)}
        known = set(ids)
        rows = {image_id: row for image_id, row in sorted(rows.items()) if image_id in known}
        images = [PredictedImage.from_json(row | {"id": image_id.lstrip("/")}) for image_id, row in rows.items()]
        WRITERS[self.format].write(images, self.classes, self.out)

    def _add_objects(self, result: Result, image_id: str, file: Any) -> None:
        objects = objects_of(result, self.tolerance)
        kept = tuple(one for one in objects if one.score is None or one.score >= self.min_score)
        width, height = result.image.size
        image = PredictedImage(id=image_id, file=os.path.realpath(file), width=width, height=height, objects=kept)
        append_rows(self.out / OBJECTS_FILE, [image.to_json()])

    def _write_pixels(self, result: Result, place: Path) -> None:
        """VOC's masks, and the confidence where it was asked for."""
        if not isinstance(result, SegmentationResult):
            return
        if self.format == "voc":
            relative = place.relative_to(self.out)
            save_mask(result.ids, result.palette, self.out / "SegmentationClass" / f"{relative}.png")
            lines = [f"{name}:{r},{g},{b}::" for name, (r, g, b) in zip(result.names, result.palette, strict=True)]
            write_text(self.out / LABEL_MAP, "\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
        if self.confidence and result.confidence is not None:
            save_confidence(result.confidence, place.with_name(f"{place.name}_confidence.png"))


def _place(out: Path, image_id: str) -> Path:
    """The path below `out` at which an image's files begin; its folder is made."""
    out.mkdir(parents=True, exist_ok=True)
    place = below(out, image_id)
    place.parent.mkdir(parents=True, exist_ok=True)
    return place


def _save_overlay(result: Result, place: Path) -> None:
    save_png(result.overlay(), place.with_name(f"{place.name}_overlay.png"))


def is_written(out: Path, image_id: str) -> bool:
    """Whether the overlay is there, which is written last."""
    return os.path.isfile(below(out, f"{image_id}_overlay.png"))  # False for a name that is too long
