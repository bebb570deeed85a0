"""The demo's images: captions and how they were cleaned, word heat maps, predictions."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.word_attention import find_word, heat_maps
from tadp_captioning import CaptionStore, modify
from tadp_cli.experiments.demo_files import captions_file, data_folder, run_folder
from tadp_cli.inputs.scenes_data import SOURCE
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.forward_pass import run_pass
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import FULL_PRECISION
from tadp_cli.report.figures import overview_figure
from tadp_cli.report.page import write_report
from tadp_cli.report.rows import CaptionRow, HeatRow, PredictionRow
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.tasks import get_task

SHOWN = 6
"""Images in each section."""


def write_demo_report(out: Path, results: dict[str, Any], backbone: DiffusionBackbone) -> None:
    """report.html and overview.png next to results.json."""
    settings = results["settings"]
    target, seed = settings["targets"][0], settings["seed"]
    task = settings["tasks"][0]
    source = open_folder(data_folder(out, task, SOURCE), task, "val")
    foreign = open_folder(data_folder(out, task, target), task, "test")
    token = results["personalization"].get(target, {}).get("token")
    maps = [_heat_row(backbone, source, image_id) for image_id in _telling(source)]
    predictions = [
        *_prediction_rows(out, source, ("empty", "oracle", "caption"), seed, "photo"),
        *_prediction_rows(out, foreign, ("caption",), seed, target),
    ]
    write_report(
        out / "report.html",
        results,
        captions=_caption_rows(out, foreign, target, token, settings["modifiers"]),
        heat_maps=maps,
        predictions=predictions,
    )
    shown = min(len(maps), 3)
    names = object_names(source.prompt_names)
    classes = {name: source.palette[source.prompt_names.index(name)] for name in names}
    overview_figure(out / "overview.png", maps[:shown], predictions[:shown], classes)


def _telling(dataset: SampleDataset) -> list[str]:
    """The first images with two classes or more."""
    present = present_classes(dataset)
    return [image_id for image_id in dataset.ids if len(present[image_id]) >= 2][:SHOWN]


def _caption_rows(
    out: Path, dataset: SampleDataset, target: str, token: str | None, modifiers: Sequence[str]
) -> list[CaptionRow]:
    written = CaptionStore.read(out / "captions" / f"{target}.jsonl")
    cleaned = CaptionStore.read(captions_file(out, target))
    rows = []
    for image_id in dataset.ids[:SHOWN]:
        prompts = {name: modify(cleaned[image_id], target, name, token=token) for name in modifiers if name != "simple"}
        prompts = {"simple": modify(cleaned[image_id], target, "simple"), **prompts}
        rows.append(CaptionRow(to_pil(dataset.read(image_id).image), written[image_id], cleaned[image_id], prompts))
    return rows


@torch.no_grad()
def _heat_row(backbone: DiffusionBackbone, dataset: SampleDataset, image_id: str) -> HeatRow:
    """The maps of the names of all classes in one image, from one pass."""
    present = present_classes(dataset, [image_id])[image_id]
    names = [name for name in object_names(dataset.prompt_names) if name in present]
    sample, prompt = dataset.read(image_id), " ".join(names)
    features = run_pass(backbone, sample.image[None], backbone.encode_text([prompt]))
    maps = heat_maps(features, [find_word(backbone.tokenizer, prompt, name) for name in names])
    return HeatRow(to_pil(sample.image), prompt, [(name, m.cpu().numpy()) for name, m in zip(names, maps, strict=True)])


def _prediction_rows(
    out: Path, dataset: SampleDataset, prompts: Sequence[str], seed: int, domain: str
) -> list[PredictionRow]:
    """Overlays of the truth and of the predictions of the models trained with each prompt."""
    ids = dataset.ids[:SHOWN] if dataset.task == "depth" else _telling(dataset)
    images = [to_pil(dataset.read(image_id).image) for image_id in ids]
    captions = CaptionStore.read(captions_file(out, domain))
    present = present_classes(dataset) if dataset.classes else {}
    texts = {
        "empty": [""] * len(ids),
        "caption": [captions[image_id] for image_id in ids],
        "oracle": [" ".join(n for n in object_names(dataset.prompt_names) if n in present.get(i, ())) for i in ids],
    }
    overlays: dict[str, list[Image.Image]] = {}
    for prompt in prompts:
        folder = run_folder(out, dataset.task, f"{prompt}-null-seed{seed}")
        if folder.is_dir():
            results = loaded_model(folder, FULL_PRECISION, "cpu").predict_batch(images, texts[prompt])
            overlays[prompt] = [result.overlay() for result in results]
    rows = []
    for index, (image_id, image) in enumerate(zip(ids, images, strict=True)):
        truth = _truth(dataset, image_id, image)
        shown = {prompt: pictures[index] for prompt, pictures in overlays.items()}
        title = f"{domain}, captioned “{captions[image_id]}”"
        rows.append(PredictionRow(image, truth, title, shown))
    return rows


def _truth(dataset: SampleDataset, image_id: str, image: Image.Image) -> Image.Image:
    target = dataset.read(image_id).target
    if dataset.task == "detection":
        target = {**target, "scores": torch.ones(len(target["labels"]))}
    else:
        target = target.as_subclass(Tensor)
    return get_task(dataset.task).result(image, target, dataset.classes, dataset.palette).overlay()
