"""The sheets of `tadp explain`: one prompt's words, two prompts side by side, each layer apart."""

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tadp_backbone.text.word_attention import heat_maps
from tadp_cli.report.heat_map_sheets import Panel, heat_panel, sheet_figure

if TYPE_CHECKING:
    from tadp_cli.pipelines.explain import Explained

COLUMNS = 5
PAIRS = 2
"""Pairs of maps in a row of a comparison."""
OWN_SCALE = "Each map is scaled to its own maximum, which is printed; probabilities of a token in a cell."


def words_sheet(path: Path, image: Image.Image, found: Sequence["Explained"]) -> None:
    """The image, a prediction if there is one, and one map per word."""
    (one,) = found
    panels = [*_first_panels(image, one)]
    panels += [heat_panel(image, word.text, heat) for word, heat in zip(one.words, one.maps, strict=True)]
    rows = [panels[i : i + COLUMNS] for i in range(0, len(panels), COLUMNS)]
    sheet_figure(path, titles=[one.prompt], rows=rows, foot=_foot(one, OWN_SCALE))


def compare_sheet(path: Path, image: Image.Image, found: Sequence["Explained"]) -> None:
    """The maps of two prompts in pairs, A left and B right, each pair on one scale."""
    a, b = found
    first = [Panel("image", image), None]
    if a.prediction is not None and b.prediction is not None:
        first += [Panel("A: prediction", a.prediction), Panel("B: prediction", b.prediction)]
    pairs = []
    for word in _numbered(a) | _numbered(b):
        maps = {"A": _numbered(a).get(word), "B": _numbered(b).get(word)}
        peak = max(float(heat.max()) for heat in maps.values() if heat is not None)
        pairs.append(
            [heat if heat is None else heat_panel(image, f"{s}: {word[0]}", heat, peak) for s, heat in maps.items()]
        )
    rows = [first, *(list(chain(*pairs[i : i + PAIRS])) for i in range(0, len(pairs), PAIRS))]
    scale = "A pair of maps has one scale, the larger maximum of the two; a word that one prompt lacks leaves a gap."
    sheet_figure(path, titles=[f"A: {a.prompt}", f"B: {b.prompt}"], rows=rows, foot=_foot(a, scale))


def layers_sheet(path: Path, image: Image.Image, found: Sequence["Explained"]) -> None:
    """A row a word: all layers pooled, then each one apart, finest stride first."""
    (one,) = found
    order = sorted(one.attention.layers, key=lambda layer: one.attention.strides[layer])
    apart = [heat_maps(one.attention.features([layer]), one.words).cpu().numpy() for layer in order]
    rows: list[list[Panel | None]] = [_first_panels(image, one)]
    for index, word in enumerate(one.words):
        row: list[Panel | None] = [heat_panel(image, word.text, one.maps[index])]
        for layer, maps in zip(order, apart, strict=True):
            row.append(heat_panel(image, f"{one.attention.strides[layer]}: {_short_name(layer)}", maps[index]))
        rows.append(row)
    note = "First column: pooled. Then each layer apart, as stride: side, block.layer, mean over heads."
    sheet_figure(path, titles=[one.prompt], rows=rows, foot=[*_foot(one, OWN_SCALE), note], side=1.6)


def _first_panels(image: Image.Image, one: "Explained") -> list[Panel | None]:
    prediction = [] if one.prediction is None else [Panel("prediction", one.prediction)]
    return [Panel("image", image), *prediction]


def _numbered(one: "Explained") -> dict[tuple[str, int], np.ndarray]:
    """{(word, which of its occurrences): map}."""
    maps: dict[tuple[str, int], np.ndarray] = {}
    for word, heat in zip(one.words, one.maps, strict=True):
        number = sum(text == word.text for text, _ in maps)
        maps[word.text, number] = heat
    return maps


def _foot(one: "Explained", scale: str) -> list[str]:
    lines = [one.pooling, scale]
    if one.prediction is not None:
        lines.append(
            "The maps are of the same pass as the prediction."
            if one.same_pass
            else "The run predicts in several passes: the maps are of one pass over the whole image."
        )
    return lines


def _short_name(layer: str) -> str:
    """ "up_blocks.1.attentions.0.transformer_blocks.0.attn2" -> "up 1.0"."""
    parts = layer.split(".")
    return f"{parts[0].removesuffix('_blocks')} {parts[1]}.{parts[3]}"
