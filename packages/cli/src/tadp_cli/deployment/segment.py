"""Training-free segmentation of loose images by the frozen UNet alone, written as predictions are."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.training_free import BACKGROUND, TrainingFreeConfig, class_scores, segment
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.user_images import PREDICTION_FILES, find_user_images, open_user_image
from tadp_cli.pipelines.loading import loaded_backbone
from tadp_cli.pipelines.prediction_files import is_written, save_png, write_classes, write_prediction
from tadp_cli.precision import AUTO, Speed
from tadp_cli.prediction.model import LEGEND_FILE
from tadp_cli.prediction.predictor import Predicted
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_heads.data.palette import Color
from tadp_heads.data.sample import default_palette
from tadp_heads.overlay import draw_legend
from tadp_heads.precision import in_float32
from tadp_heads.preprocessing import RANGES
from tadp_heads.results import SegmentationResult
from tadp_heads.seeds import image_generators


def class_list(text: str) -> tuple[str, ...]:
    """Names separated by commas, each once; the background is always there and is not listed."""
    names = tuple(dict.fromkeys(name for part in text.split(",") if (name := " ".join(part.split()))))
    names = tuple(name for name in names if name.lower() != BACKGROUND)
    if not names:
        raise ValueError(f'classes are {text!r}, expected names separated by commas, e.g. "dog, cat, grass"')
    return names


@in_float32()
def segment_images(
    images: Sequence[str],
    names: tuple[str, ...],
    out: Path,
    source: str,
    config: TrainingFreeConfig,
    *,
    device: str = "cpu",
    speed: Speed = AUTO,
    report: Report = lambda *_: None,
) -> Predicted:
    """The files of `tadp predict` for each image, 0 being the background; what is there already is left alone."""
    files = find_user_images(images, leave_out=out)
    done = Predicted()
    with run_lock(out):
        backbone = loaded_backbone(source, speed, device, read_inside=True).freeze()
        settings = {"training_free": source, "classes": list(names), **asdict(config)}
        claim(out / PREDICTION_FILES[0], settings, "predictions")
        classes, palette = classes_of(names)
        save_png(draw_legend(classes, palette), out / LEGEND_FILE)
        write_classes(classes, palette, out)
        for index, (image_id, file) in enumerate(files.items(), 1):
            if is_written(out, image_id):
                done.there.append(image_id)
                continue
            try:
                image = open_user_image(file)
            except ValueError as error:
                done.failed[image_id] = str(error)
                continue
            scores = class_scores_of(backbone, image, names, config)
            result = segmented(scores, image, names, config.threshold)
            write_prediction(result, out, image_id, file.name)
            done.written.append(image_id)
            report("segment", index, len(files))
    return done


def classes_of(names: Sequence[str]) -> tuple[tuple[str, ...], tuple[Color, ...]]:
    """The background and the names, and a colour for each."""
    classes = (BACKGROUND, *names)
    return classes, default_palette(classes)


def segmented(scores: torch.Tensor, image: Image.Image, names: Sequence[str], threshold: float) -> SegmentationResult:
    """Scores (K, H, W) of `names` -> their mask over the image, 0 being the background."""
    classes, palette = classes_of(names)
    return SegmentationResult(image=image, ids=segment(scores, threshold).cpu(), names=classes, palette=palette)


def class_scores_of(
    backbone: DiffusionBackbone, image: Image.Image, names: Sequence[str], config: TrainingFreeConfig
) -> torch.Tensor:
    """(K, H, W); equal images get equal noise at every call, where the backbone draws some."""
    pixels = pil_to_tensor(image)[None]
    generator = image_generators(pixels, 0) if backbone.is_stochastic else None
    return class_scores(backbone, RANGES["sd"](pixels).to(backbone.device), names, config, generator)
