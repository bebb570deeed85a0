"""Captions against a data set's labels, by words and by a CLIP text encoder."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from torch import Tensor
from transformers import CLIPTokenizer

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.encoder import text_parts, tokenize
from tadp_captioning import CaptionStore
from tadp_captioning.matching import captions_of_files
from tadp_captioning.mentions.cosine import CosineMentions
from tadp_captioning.stats import ClassReport, class_report
from tadp_heads.atomic_files import replacing
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.registry import open_data


def load_text_encoder(name: str) -> tuple[CLIPTokenizer, Callable[[Sequence[str]], Tensor]]:
    """The tokenizer of a backbone, and texts -> (B, D), the embedding of each text's end token."""
    backbone = DiffusionBackbone.from_pretrained(name)
    return text_parts(backbone)[0], end_token_encoder(backbone)


def end_token_encoder(backbone: DiffusionBackbone) -> Callable[[Sequence[str]], Tensor]:
    """Texts -> (B, D), the embedding of each text's end token in the backbone's text encoder."""

    tokenizer, encoder = text_parts(backbone)

    def encode(texts: Sequence[str]) -> Tensor:
        ids = tokenize(tokenizer, texts).to(encoder.device)
        return encoder(ids).pooler_output

    return encode


def class_tables(
    store: CaptionStore,
    data: Path,
    split: str | None,
    *,
    encode: Callable[[Sequence[str]], Tensor] | None,
    threshold: float,
) -> dict[str, ClassReport]:
    """{way of matching: report} for the images of a split; the cosine's where there is an encoder."""
    dataset = open_data(data, split=split)
    if not dataset.classes:
        raise ValueError(f"{data} has no classes, so captions have no class precision there; leave --data out")
    files = dataset.image_files
    store = captions_of_files(store, {image_id: files[image_id] for image_id in dataset.ids})
    missing = store.missing(dataset.ids)
    if missing:
        raise ValueError(
            f"no caption for {len(missing)} of {len(dataset.ids)} images of {data}, such as {missing[0]!r}: caption "
            "them with `tadp caption`, or name the split that was captioned with --split"
        )
    names, present = object_names(dataset.prompt_names), present_classes(dataset)
    reports = {"words and synonyms": class_report(store, present, names)}
    if encode is not None:
        mentions = CosineMentions(names, encode, threshold=threshold)
        mentions.learn(store[image_id] for image_id in present)
        reports[f"CLIP-text cosine >= {threshold:g}"] = class_report(store, present, names, mentions=mentions)
    return reports


def write_per_image(reports: dict[str, ClassReport], path: Path) -> None:
    """One row per image and way of matching, to be set against metrics per image (paper Fig. S5)."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "matching", "precision", "recall"))
        for title, report in reports.items():
            writer.writerows((image_id, title, *found) for image_id, found in report.by_image.items())
