"""The page and the figure of `benchmarks/labelling.py`."""

from collections.abc import Mapping
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from page_layout import header, made, spread, spread_note, table

HEAD = (
    "What is worth labelling when the budget is small, in a small-scale setting: Scenes, the tiny backbone, whose "
    "features are computed once, a semantic FPN of 32 channels. mIoU on images that no training saw, prompted with the "
    "names of the classes present. It demonstrates the mechanism and is not evidence about photographs."
)
TITLES = {"photo": "photo", "watercolor": "watercolor", "sketch": "sketch (no training saw it)"}
COST_RATIO = 40


def labelling(results: Mapping[str, Any]) -> str:
    """The page."""
    parts = {"budget": _budget, "next": _next, "errors": _errors}
    blocks = [f"{part(results[name])}\n\n{_about(results[name])}" for name, part in parts.items() if name in results]
    drawn = {"budget", "next"} & set(results)
    figure = ["![mIoU against the budget, and against the number of labelled images](labelling.png)"] if drawn else []
    return "\n\n".join([header("What to label", "labelling", HEAD), *figure, *blocks]) + "\n"


def draw(results: Mapping[str, Any], path: Path) -> None:
    """Budget curves per domain, and learning curves; mean and sample standard deviation over the seeds."""
    import matplotlib.pyplot as plt

    domains = results.get("budget", {}).get("values", {})
    curves = results.get("next", {}).get("values", {})
    panels = [*domains, *(["next"] if curves else [])]
    if not panels:
        return
    figure, axes = plt.subplots(1, len(panels), figsize=(3.6 * len(panels), 3.4), squeeze=False, layout="constrained")
    for axis, name in zip(axes[0], panels, strict=True):
        for label, curve in (curves if name == "next" else domains[name]).items():
            xs, rows = [int(x) for x in curve], [[100 * value for value in values] for values in curve.values()]
            axis.errorbar(
                xs, [mean(row) for row in rows], [stdev(row) for row in rows], marker="o", capsize=3, label=label
            )
        axis.set_title("photo: images chosen by" if name == "next" else f"{name}: budget spent on", fontsize=10)
        axis.set_xlabel("labelled images" if name == "next" else "added cost, in masks")
        axis.legend(fontsize=8)
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("mIoU in %")
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _budget(part: Mapping[str, Any]) -> str:
    start = part["settings"]["start"]
    text = (
        f"A head trained on {start} masks is improved at the same annotation cost (mask : name = {COST_RATIO} : 1). "
        f"masks: so many more masks. names: the classes of {COST_RATIO} times as many images, whose masks the head "
        "predicts under their names, and a head trained on all. mIoU in %. " + spread_note(part["seeds"])
    )
    rows = []
    for domain, arms in part["values"].items():
        for arm, curve in arms.items():
            shown = [spread([100 * value for value in values], 1) for values in curve.values()]
            rows.append([TITLES.get(domain, domain), arm, *shown])
    costs = next(iter(next(iter(part["values"].values())).values()))
    head = ["domain", "budget spent on", *(f"+{cost} masks' cost" if cost != "0" else "start" for cost in costs)]
    return f"## Masks or names\n\n{text}\n\n{table(head, rows)}"


def _next(part: Mapping[str, Any]) -> str:
    settings = part["settings"]
    text = (
        f"Photos are labelled {settings['step']} at a time, chosen from {settings['pool']} as `tadp label-next` does "
        "(text: disagreement between a prompt of all classes and an empty one; entropy under all classes; random), and "
        f"a head is retrained. mIoU in %. {spread_note(part['seeds'])}"
    )
    curves = part["values"]
    rows = [[by, *(spread([100 * v for v in values], 1) for values in curve.values())] for by, curve in curves.items()]
    counts = next(iter(curves.values()))
    return f"## What to label next\n\n{text}\n\n{table(['chosen by', *(f'{n} images' for n in counts)], rows)}"


def _errors(part: Mapping[str, Any]) -> str:
    text = (
        f"AUROC of finding the wrong pixels of a head trained on {part['settings']['start']} masks by each uncertainty "
        f"of `tadp label-next`, prompted with all classes; random is 0.5. {spread_note(part['seeds'])}"
    )
    rows = [
        [
            TITLES.get(domain, domain),
            spread(found["text"], 3),
            spread(found["entropy"], 3),
            spread([100 * value for value in found["wrong"]], 1),
        ]
        for domain, found in part["values"].items()
    ]
    return (
        f"## Does uncertainty find errors\n\n{text}\n\n{table(['domain', 'text', 'entropy', 'wrong pixels, %'], rows)}"
    )


def _about(part: Mapping[str, Any]) -> str:
    settings = part["settings"]
    return (
        f"{settings['val']} evaluation images, {settings['steps']} steps of 8 images, tiny backbone version "
        f"{part['weights']}. {made(part)}"
    )
