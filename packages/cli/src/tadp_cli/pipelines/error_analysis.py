"""Finished runs analysed image by image: metrics, confusions, the best and the worst."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tadp_backbone.attention_maps import layers_at
from tadp_backbone.text.word_attention import heat_maps, words_of
from tadp_captioning import CaptionStore
from tadp_captioning.matching import captions_of_files
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.evaluate import OpenedRun, captions_folder, open_run
from tadp_cli.pipelines.forward_pass import attention_pass
from tadp_cli.prompts.authors import read_captions
from tadp_cli.run.run import Run
from tadp_heads.data import Sample
from tadp_heads.tasks import get_task
from tadp_heads.training.metrics_log import METRICS_FILE, read_steps

_BATCH = 16
"""Images predicted at once."""


@dataclass(frozen=True, kw_only=True)
class Examined:
    """A run on the first images of its validation split, or of another set."""

    run: Path
    opened: OpenedRun
    per_image: dict[str, float]
    """{image id: the task's main metric on this image alone}; images on which it is not defined are left out."""
    per_class: dict[str, float]
    """{class: metric over all images}; empty where the metric is not per class."""
    confusion: list[list[float]]
    """Segmentation: share of a class's pixels (rows) that is taken for a class (columns); else empty."""
    where: Mapping[str, Any] = field(default_factory=dict)
    """Fields of `EvaluateOptions` that name another set than the validation split."""

    @property
    def labelled(self) -> bool:
        return self.where.get("labelled", True)

    @property
    def recipe(self) -> Recipe:
        return self.opened.recipe


def examine_run(
    run: Path,
    images: int,
    *,
    on_target: bool = False,
    where: Mapping[str, Any] | None = None,
    device: str,
    report: Report,
) -> Examined:
    """Evaluate the first `images` of the validation split image by image.

    `on_target`: those of the recipe's test data instead; `where`: those of the set that these fields of
    `EvaluateOptions` name. Images without labels are opened alone.
    """
    recipe = Run(run).finished_recipe()
    where = _target(recipe, run) if on_target else dict(where or {})
    if not recipe.needs_captions:
        where = {key: value for key, value in where.items() if key not in ("captions", "domain")}
    opened = open_run(run, **where, most=images, device=device, report=report)
    if not where.get("labelled", True):
        return Examined(run=run, opened=opened, per_image={}, per_class={}, confusion=[], where=where)
    _, model, dataset, *_ = opened
    task, protocol = model.task, recipe.protocol or next(iter(model.task.protocols))
    whole, per_image = task.metric(dataset.classes, protocol), {}
    for start in range(0, len(dataset), _BATCH):
        ids = dataset.ids[start : start + _BATCH]
        for sample, raw in zip(*predicted(opened, ids, protocol), strict=True):
            own = task.metric(dataset.classes, protocol)
            pair = (
                task.translate(raw, model.config.classes, dataset.classes),
                task.evaluation_target(sample.target, protocol),
            )
            whole.update(*pair)
            own.update(*pair)
            value = float(own.compute()[task.main_metric.key])
            if not math.isnan(value):
                per_image[sample.id] = value
        report(f"examine {run.name}", min(start + _BATCH, len(dataset)), len(dataset))
    per_class = whole.per_class() if hasattr(whole, "per_class") else {}
    confusion = getattr(whole, "confusion", None)
    shares = [] if confusion is None else (confusion / confusion.sum(1, keepdim=True).clamp(min=1)).tolist()
    return Examined(run=run, opened=opened, per_image=per_image, per_class=per_class, confusion=shares, where=where)


def _target(recipe: Recipe, run: Path) -> dict[str, Any]:
    """Data, split and captions of the recipe's test, for `open_run`."""
    test = recipe.test
    if not test.folder:
        raise ValueError(f"{run}: its recipe has no test data (test.folder); leave --target out")
    written = recipe.needs_captions and not test.captions
    return {
        "folder": test.folder,
        "split": test.split,
        "captions": Path(test.captions) if test.captions else None,
        "domain": recipe.prompt.domain if written else "",
    }


def predicted(opened: OpenedRun, ids: Sequence[str], protocol: str = "") -> tuple[list[Sample], list[Any]]:
    """The samples and their raw predictions."""
    samples = [opened.dataset.read(image_id) for image_id in ids]
    images = [sample.image for sample in samples]
    return samples, opened.model.predict_tensors(images, opened.context(ids), protocol or None)


def extremes(per_image: Mapping[str, float], task: str, count: int) -> tuple[list[str], list[str]]:
    """Ids of the `count` best and, the worst first, the `count` worst images; no image is in both."""
    order = sorted(per_image, key=per_image.__getitem__, reverse=get_task(task).main_metric.higher_is_better)
    count = min(count, len(order) // 2)
    return order[:count], order[len(order) - count :][::-1]


def prediction_overlays(examined: Examined, ids: Sequence[str]) -> dict[str, Image.Image]:
    """{id: the run's prediction over the image}."""
    model = examined.opened.model
    samples, found = predicted(examined.opened, ids, examined.recipe.protocol)
    return {
        sample.id: model.task.result(to_pil(sample.image), raw, model.config.classes, model.config.palette).overlay()
        for sample, raw in zip(samples, found, strict=True)
    }


def truth_overlay(examined: Examined, image_id: str) -> Image.Image:
    """The annotation over the image."""
    dataset = examined.opened.dataset
    sample = dataset.read(image_id)
    if dataset.task == "detection":
        target = {k: sample.target[k] for k in ("boxes", "labels")} | {
            "scores": torch.ones(len(sample.target["labels"]))
        }
    else:
        target = sample.target.as_subclass(Tensor)
    return get_task(dataset.task).result(to_pil(sample.image), target, dataset.classes, dataset.palette).overlay()


@torch.no_grad()
def word_maps(examined: Examined, image_id: str, most: int) -> list[tuple[str, Any]]:
    """(word, (H, W)) of the prompt's content words with the highest maxima; none where embeddings replace text."""
    _, model, dataset, prompts, *_ = examined.opened
    text = prompts.texts.get(image_id)
    if text is None:
        return []
    words = [word for word in words_of(model.backbone.tokenizer, text) if word.has_content]
    if not words:
        return []
    image = dataset.read(image_id).image.as_subclass(Tensor)
    layers = layers_at(model.backbone)
    context = model.backbone.encode_text([text])
    attention = attention_pass(model.backbone, image, context, layers, model.config.image_range, model.config.seed)
    maps = heat_maps(attention.features(), words).cpu().numpy()
    found = sorted(zip([w.text for w in words], maps, strict=True), key=lambda pair: -pair[1].max())
    return found[:most]


def caption_history(examined: Examined, image_id: str) -> tuple[str, str] | None:
    """(caption as it is stored, prompt as the model is given it), where the run is prompted with captions."""
    prompts = examined.opened.prompts
    store = stored_captions(examined)
    if store is None or image_id not in prompts.texts or image_id not in store:
        return None
    return store[image_id], prompts.texts[image_id]


def stored_captions(examined: Examined) -> CaptionStore | None:
    """The captions of the images, as they were given or written for the run."""
    recipe, where = examined.recipe, examined.where
    folder, split = where.get("folder") or recipe.data.folder, where.get("split") or recipe.data.val
    given = where.get("captions") or (recipe.data.captions if not where.get("folder") else "")
    written = captions_folder(examined.run) / f"{Path(folder).resolve().name}_{split}.jsonl"
    file = Path(given) if given else written
    if not recipe.needs_captions or not file.is_file():
        return None
    return captions_of_files(read_captions(file, recipe.data.captioner), examined.opened.dataset.image_files)


def loss_curve(run: Path) -> tuple[list[int], list[float]]:
    """Steps and losses of metrics.jsonl, a mean over fiftieths of the training."""
    points = [(row["step"], row["loss"]) for row in read_steps(run / METRICS_FILE) if "loss" in row]
    width = max(1, len(points) // 50)
    groups = [points[i : i + width] for i in range(0, len(points) - width + 1, width)]
    return [group[-1][0] for group in groups], [sum(loss for _, loss in group) / len(group) for group in groups]
