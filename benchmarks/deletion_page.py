"""The page of `benchmarks/deletion_test.py`."""

from collections.abc import Mapping
from typing import Any

from page_layout import header, made, table

HEAD = (
    "Is attention what the head uses? A word is removed from the prompt, the image is predicted again, and what "
    "changes is compared with the word's attention map (`tadp app`, *Effect of each word*). Changed: pixels of "
    "another class. Correlation: Spearman's, over an image's pixels, of attention and change (total variation of "
    "the class probabilities). In the top 20 %: share of the change in the fifth of the image where the word "
    "attends most. Rolled: the same with the map moved to a random place, which keeps its smoothness and says "
    "nothing of the image. Means over words; Scenes at small scale, not evidence about photographs."
)


def deletion(results: Mapping[str, Any]) -> str:
    """The page."""
    blocks = []
    for part in results.values():
        text = (
            f"One segmentation run, prompted with captions (mIoU {100 * part['mIoU']:.1f} % on its validation split), "
            f"over {part['images']} Scenes with their true captions."
        )
        head = ["word", "words", "changed, %", "correlation", "rolled", "in the top 20 %", "rolled"]
        blocks += [text, table(head, [_row(kind, found) for kind, found in part["words"].items()]), made(part)]
    return "\n\n".join([header("The deletion test", "deletion-test", HEAD), *blocks]) + "\n"


def _row(kind: str, found: Mapping[str, Any]) -> list[str]:
    pairs = [_shown(found[key]) for key in ("correlation", "correlation_rolled", "top_share", "top_share_rolled")]
    return [kind, str(found["words"]), f"{100 * found['changed']:.1f}", *pairs]


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"
