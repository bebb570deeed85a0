"""Predictions of a run for loose images, written as files."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps

from tadp_captioning import find_images, load_captioner
from tadp_captioning.domains import content_of
from tadp_cli.workflows.devices import checked_device
from tadp_cli.workflows.runs import read_run, write_text
from tadp_cli.workflows.training import Report
from tadp_heads import DepthResult, DetectionResult, PerceptionModel
from tadp_heads.depth.files import write_depth_npy, write_depth_png
from tadp_heads.results import Result


class Predicted(NamedTuple):
    written: list[str]
    """Ids of the images."""
    failed: dict[str, str]
    """{id: why it could not be read}."""


def predict_images(
    run: Path, images: Sequence[str], out: Path, *, caption: str | None, device: str, report: Report
) -> Predicted:
    """One by one: ID_overlay.png, the raw result (mask PNG with palette; depth PNG in millimetres and .npy in metres;
    boxes JSON), and captions.jsonl with the text each image was given."""
    recipe = read_run(run)
    files = find_images(images[0] if len(images) == 1 else images)
    model = PerceptionModel.from_pretrained(run).to(checked_device(device))
    captioned = model.config.needs_caption and model.context is None
    if captioned and caption is None and model.config.captioner is None:
        raise ValueError(f"{run} was trained with the prompt {recipe.prompt.kind!r}: give the text with --caption")
    if not captioned and caption is not None:
        raise ValueError(f"{run} was trained with one text for all images: leave --caption out")
    captioner = load_captioner(model.config.captioner, device=device) if captioned and caption is None else None
    out.mkdir(parents=True, exist_ok=True)
    written, failed, lines = [], {}, []
    for number, (image_id, path) in enumerate(files.items(), start=1):
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file).convert("RGB")
        except (OSError, ValueError) as error:
            failed[image_id] = str(error)
            continue
        text = captioner.caption([image])[0] if captioner else caption or ""
        if recipe.prompt.modifier != "null":
            text = content_of(text)  # the modifier's sentence names the medium and begins for itself
        _write(model.predict(image, text), out, image_id)
        written.append(image_id)
        lines.append(json.dumps({"id": image_id, "caption": text}, ensure_ascii=False))
        report("predict", number, len(files))
    write_text(out / "captions.jsonl", "".join(f"{line}\n" for line in lines))
    return Predicted(written, failed)


def _write(result: Result, out: Path, image_id: str) -> None:
    stem = out / image_id
    stem.parent.mkdir(parents=True, exist_ok=True)
    result.overlay().save(stem.with_name(f"{stem.name}_overlay.png"))
    if isinstance(result, DepthResult):
        write_depth_png(stem.with_name(f"{stem.name}_depth.png"), result.metres)
        write_depth_npy(stem.with_name(f"{stem.name}_depth.npy"), result.metres)
    elif isinstance(result, DetectionResult):
        write_text(stem.with_name(f"{stem.name}_boxes.json"), json.dumps(_boxes(result, image_id), indent=1))
    else:
        mask = Image.fromarray(result.ids.cpu().numpy().astype(np.uint8), mode="P")
        mask.putpalette([channel for colour in result.palette for channel in colour])
        mask.save(stem.with_name(f"{stem.name}_mask.png"))


def _boxes(result: DetectionResult, image_id: str) -> list[dict]:
    """COCO's result format: boxes as x, y, width, height in pixels; the class by name too."""
    rows = zip(result.boxes.tolist(), result.scores.tolist(), result.labels.tolist(), strict=True)
    return [
        {
            "image_id": image_id,
            "category_id": label,
            "category": result.names[label],
            "bbox": [left, top, right - left, bottom - top],
            "score": score,
        }
        for (left, top, right, bottom), score, label in rows
    ]
