"""The demo's images: captions and how they were cleaned, word heat maps, predictions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.word_attention import Word, find_word, heat_maps, words_of
from tadp_captioning import CaptionStore, modify
from tadp_captioning.mentions.words import ClassMentions
from tadp_cli.experiments.demo_files import captions_file, data_folder, run_folder
from tadp_cli.inputs.scenes_data import SOURCE
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.evaluate import open_run
from tadp_cli.pipelines.forward_pass import run_pass
from tadp_cli.report.figures import overview_figure
from tadp_cli.report.page import write_report
from tadp_cli.report.rows import CaptionRow, HeatRow, PredictionRow
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.image_io import open_rgb
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.segmentation import MeanIoU
from tadp_heads.tasks import get_task

TASK = "segmentation"
"""Of all images that are shown."""
SHOWN = 6
"""Images in each section."""
CANDIDATES, IN_OVERVIEW = 24, 2
"""Images of a domain that are predicted, and how many of them the overview shows."""
TITLES = {
    "empty": "without text",
    "caption": "with caption",
    "oracle": "with oracle",
    "textual-inversion": "with domain token",
}
"""{prompt or modifier: what the overview calls its predictions}."""


def write_demo_report(out: Path, results: dict[str, Any], backbone: DiffusionBackbone) -> None:
    """report.html and overview.png next to results.json."""
    settings = results["settings"]
    target, seed = settings["targets"][0], settings["seed"]
    runs = {name: f"{name}-null-seed{seed}" for name in settings["prompts"]}
    across = {name: f"caption-{name}-{target}-seed{seed}" for name in settings["modifiers"]}
    across = {name: runs[name] for name in ("empty", "caption") if name in runs} | across
    source, foreign = _predicted(out, SOURCE, runs), _predicted(out, target, across)
    token = results["personalization"].get(target, {}).get("token")
    story = [
        *_story(source, ("empty", "caption", "oracle"), backbone),
        *_story(foreign, ("empty", "caption", "textual-inversion"), backbone),
    ]
    heats, predictions = zip(*story, strict=True)
    names, palette = source.dataset.prompt_names, source.dataset.palette
    classes = {name: palette[names.index(name)] for name in object_names(names)}
    overview_figure(out / "overview.png", heats, predictions, classes)
    write_report(
        out / "report.html",
        results,
        overview=open_rgb(out / "overview.png"),
        captions=_caption_rows(out, foreign, target, token, settings["modifiers"]),
        heat_maps=[_names_row(backbone, source.dataset, image_id) for image_id in source.ids[:SHOWN]],
        predictions=[row for part in (source, foreign) for row in _prediction_rows(part, part.ids[:SHOWN])],
    )


class _Predicted(NamedTuple):
    """The first images of a domain that have two classes or more, and what runs predict."""

    domain: str
    dataset: SampleDataset
    ids: list[str]
    captions: CaptionStore
    results: dict[str, dict[str, Any]]
    """{prompt: {image id: result}}, of the runs that are there."""


def _predicted(out: Path, domain: str, runs: Mapping[str, str]) -> _Predicted:
    where, split = data_folder(out, TASK, domain), "val" if domain == SOURCE else "test"
    dataset, captions = open_folder(where, TASK, split), captions_file(out, domain)
    present = present_classes(dataset)
    ids = [image_id for image_id in dataset.ids if len(present[image_id]) >= 2][:CANDIDATES]
    images = [to_pil(dataset.read(image_id).image) for image_id in ids]
    found: dict[str, dict[str, Any]] = {}
    for prompt, run in runs.items():
        folder = run_folder(out, TASK, run)
        if folder.is_dir():
            given = captions if run.startswith("caption") else None
            _, model, _, prompts, _ = open_run(folder, folder=str(where), split=split, captions=given)
            results = model.predict_batch(images, context=prompts.context(model.backbone, ids))
            found[prompt] = dict(zip(ids, results, strict=True))
    return _Predicted(domain, dataset, ids, CaptionStore.read(captions), found)


def _caption_rows(
    out: Path, shown: _Predicted, target: str, token: str | None, modifiers: Sequence[str]
) -> list[CaptionRow]:
    written, cleaned = CaptionStore.read(out / "captions" / f"{target}.jsonl"), shown.captions
    rows = []
    for image_id in shown.dataset.ids[:SHOWN]:
        prompts = {name: modify(cleaned[image_id], target, name, token=token) for name in modifiers if name != "simple"}
        prompts = {"simple": modify(cleaned[image_id], target, "simple"), **prompts}
        image = to_pil(shown.dataset.read(image_id).image)
        rows.append(CaptionRow(image, written[image_id], cleaned[image_id], prompts))
    return rows


def _story(
    shown: _Predicted, prompts: Sequence[str], backbone: DiffusionBackbone
) -> Iterator[tuple[HeatRow, PredictionRow]]:
    """First the images on which each prompt raises the mIoU, best under the caption first."""
    found = {prompt: shown.results[prompt] for prompt in prompts if prompt in shown.results}
    scores = {i: [_miou(results[i], shown.dataset, i) for results in found.values()] for i in shown.ids}

    def rank(image_id: str) -> tuple[bool, list[float]]:
        return scores[image_id] == sorted(set(scores[image_id])), scores[image_id][-2:]

    chosen = sorted(shown.ids, key=rank, reverse=True)[:IN_OVERVIEW]
    mentions = ClassMentions(object_names(shown.dataset.prompt_names))
    for image_id, row in zip(chosen, _prediction_rows(shown, chosen), strict=True):
        prompt = shown.captions[image_id]
        words = [word for word in words_of(backbone.tokenizer, prompt) if mentions(word.text)]
        predictions = {TITLES[name]: row.predictions[name] for name in found}
        yield _heat_row(backbone, shown.dataset, image_id, prompt, words), replace(row, predictions=predictions)


def _prediction_rows(shown: _Predicted, ids: Sequence[str]) -> list[PredictionRow]:
    """Overlays of the truth and of the predictions of the models trained with each prompt."""
    rows, dataset = [], shown.dataset
    for image_id in ids:
        sample = dataset.read(image_id)
        image, truth = to_pil(sample.image), sample.target.as_subclass(Tensor)
        annotated = get_task(TASK).result(image, truth, dataset.classes, dataset.palette).overlay()
        predictions = {prompt: results[image_id].overlay() for prompt, results in shown.results.items()}
        title = f"{shown.domain}, captioned “{shown.captions[image_id]}”"
        rows.append(PredictionRow(image, annotated, title, predictions))
    return rows


def _miou(result: Any, dataset: SampleDataset, image_id: str) -> float:
    """Of one image, over the classes that are in it or predicted."""
    metric = MeanIoU(dataset.classes)
    metric.update(result.ids, dataset.read(image_id).target.as_subclass(Tensor))
    return metric.compute()["mIoU"]


def _names_row(backbone: DiffusionBackbone, dataset: SampleDataset, image_id: str) -> HeatRow:
    """The maps of the names of all classes in one image."""
    present = present_classes(dataset, [image_id])[image_id]
    names = [name for name in object_names(dataset.prompt_names) if name in present]
    prompt = " ".join(names)
    return _heat_row(
        backbone, dataset, image_id, prompt, [find_word(backbone.tokenizer, prompt, name) for name in names]
    )


@torch.no_grad()
def _heat_row(
    backbone: DiffusionBackbone, dataset: SampleDataset, image_id: str, prompt: str, words: Sequence[Word]
) -> HeatRow:
    """The maps of some words of a prompt, from one pass."""
    image = dataset.read(image_id).image
    maps = heat_maps(run_pass(backbone, image[None], backbone.encode_text([prompt])), words) if words else ()
    return HeatRow(to_pil(image), prompt, [(w.text, m.cpu().numpy()) for w, m in zip(words, maps, strict=True)])
