"""The page of `benchmarks/conformal.py`."""

from collections.abc import Mapping
from typing import Any

from page_layout import header, made, table

HEAD = (
    "The threshold of an image tagger is chosen on photos of Scenes so that, with a stated confidence, at least a "
    "target share of an image's classes is named (conformal risk control, `presence.recall`). The guarantee is "
    "for images like those of the calibration. It does not hold on other domains; the share that is named there "
    "is measured below."
)


def conformal(results: Mapping[str, Any]) -> str:
    """The page."""
    blocks = [_block(name, part) for name, part in results.items()]
    return "\n\n".join([header("Conformal thresholds", "conformal", HEAD), *blocks]) + "\n"


def _block(name: str, part: Mapping[str, Any]) -> str:
    splits, confidence = part["splits"], 100 * part["confidence"]
    text = (
        f"Thresholds from {part['calibration_images']} photos with {confidence:.0f} % confidence; tested on other "
        f"photos in {splits} random splits of the same pool, and with the first split's threshold on {part['images']} "
        "images of each other domain. Named: classes named per image."
    )
    kept = [
        [
            f"{100 * asked['recall']:.0f}",
            f"{100 * asked['kept']:.0f}",
            f"{100 * asked['mean']:.1f}",
            f"{asked['named']:.1f}",
        ]
        for asked in part["photos"]
    ]
    head = ["target, %", "splits in which it was reached, %", "mean share named, %", "named"]
    domains = list(part["domains"])
    rows = [
        [f"{100 * asked['recall']:.0f}", *(f"{100 * part['domains'][d][index]:.1f}" for d in domains)]
        for index, asked in enumerate(part["photos"])
    ]
    trained = ", ".join(part["unseen"])
    return "\n\n".join(
        [
            f"## Tagger: {name}",
            text,
            table(head, kept),
            f"Share of an image's classes that are named, in %, by domain (no training saw {trained}):",
            table(["target, %", *domains], rows),
            made(part),
        ]
    )
