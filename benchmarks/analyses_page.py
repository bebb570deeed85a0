"""The page of `benchmarks/analyses.py`: what `tadp analyze` prints."""

from collections.abc import Mapping
from typing import Any

from page_layout import header, made, table

HEAD = (
    "At small scale: photos of Scenes that no model was trained on, the tiny models, one seed. The tiny model's words "
    "were taught to point by masks, Stable Diffusion's were not: that words attend to objects here is no evidence "
    "about Stable Diffusion."
)


def analyses(results: Mapping[str, Any]) -> str:
    """The page of {analysis: what it printed}."""
    return "\n\n".join([header("Analyses", "analyses", HEAD), *map(_block, results.values())]) + "\n"


def _block(part: Mapping[str, Any]) -> str:
    title = part["title"][:1].upper() + part["title"][1:]
    return "\n\n".join([f"## {title}", table(part["columns"], part["rows"]), part["remark"], made(part)])
