"""The sheets of `tadp explain`: one prompt's words, two prompts one above the other, each layer apart."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from tadp_backbone.text.word_attention import Word, heat_maps
from tadp_cli.report.heat_map_sheets import Panel, heat_panel, sheet_figure

if TYPE_CHECKING:
    from tadp_cli.pipelines.explain import Explained

COLUMNS = 5
SHARED_SCALE = (
    "All maps have one scale, up to the largest maximum; each one's own is printed. Content words come first."
)


def words_sheet(path: Path, image: Image.Image, found: Sequence["Explained"]) -> None:
    """The image, a prediction if there is one, and one map per word on one scale, content words first."""
    (one,) = found
    peak = float(one.maps.max())
    panels = [*_first_panels(image, one)]
    panels += [heat_panel(image, word.text, heat, peak) for word, heat in _ordered(one)]
    rows = [panels[i : i + COLUMNS] for i in range(0, len(panels), COLUMNS)]
    sheet_figure(path, titles=[one.prompt], rows=rows, foot=_foot(one, SHARED_SCALE), classes=one.classes)


def compare_sheet(path: Path, image: Image.Image, found: Sequence["Explained"]) -> None:
    """The maps of two prompts in two rows, A above B, one column per word, all on one scale."""
    a, b = found
    peak = max(float(one.maps.max()) for one in found)
    first = {"A": _first_panels(image, a), "B": _first_panels(image, b)}
    maps = {"A": _numbered(a), "B": _numbered(b)}
    words = list(maps["A"] | maps["B"])
    rows: list[list[Panel | None]] = []
    for start in range(0, len(words), COLUMNS):
        for name in ("A", "B"):
            row: list[Panel | None] = list(first[name]) if start == 0 else [None] * len(first[name])
            for word in words[start : start + COLUMNS]:
                heat = maps[name].get(word)
                row.append(None if heat is None else heat_panel(image, f"{name}: {word[0]}", heat, peak))
            rows.append(row)
    scale = "All maps have one scale, up to the largest maximum; a word that one prompt lacks leaves a gap."
    sheet_figure(
        path,
        titles=[f"A: {a.prompt}", f"B: {b.prompt}"],
        rows=rows,
        foot=_foot(a, scale),
        classes={**a.classes, **b.classes},
    )


def layers_sheet(path: Path, image: Image.Image, found: Sequence["Explained"]) -> None:
    """One row per word: all layers pooled, then each one apart, finest stride first."""
    (one,) = found
    order = sorted(one.attention.layers, key=lambda layer: one.attention.strides[layer])
    apart = [heat_maps(one.attention.features([layer]), one.words).cpu().numpy() for layer in order]
    columns = {"pooled": one.maps} | {
        f"{one.attention.strides[layer]}: {_short_name(layer)}": maps for layer, maps in zip(order, apart, strict=True)
    }
    rows: list[list[Panel | None]] = [_first_panels(image, one)]
    for index in sorted(range(len(one.words)), key=lambda i: not one.words[i].has_content):
        names = [one.words[index].text, *list(columns)[1:]]
        shown = zip(names, columns.values(), strict=True)
        rows.append([heat_panel(image, name, maps[index], float(maps.max())) for name, maps in shown])
    note = "First column: pooled. Then each layer apart, as stride: side, block.layer, mean over heads."
    scale = "A column has one scale, up to the largest maximum in it; each map's own is printed."
    sheet_figure(path, titles=[one.prompt], rows=rows, foot=[*_foot(one, scale), note], side=1.6, classes=one.classes)


def _first_panels(image: Image.Image, one: "Explained") -> list[Panel | None]:
    prediction = [] if one.prediction is None else [Panel("prediction", one.prediction)]
    return [Panel("image", image), *prediction]


def _ordered(one: "Explained") -> list[tuple[Word, np.ndarray]]:
    """Words with their maps, content words first."""
    return sorted(zip(one.words, one.maps, strict=True), key=lambda pair: not pair[0].has_content)


def _numbered(one: "Explained") -> dict[tuple[str, int], np.ndarray]:
    """{(word, which of its occurrences): map}."""
    maps: dict[tuple[str, int], np.ndarray] = {}
    for word, heat in _ordered(one):
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
