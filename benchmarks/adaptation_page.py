"""The pages of `benchmarks/training_free.py` and `benchmarks/self_training.py`."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from page_layout import header, made, spread, table

PROMPTS = {"class-names": "all class names", "oracle": "names of the classes present"}


def training_free(results: Mapping[str, Any]) -> str:
    """The page of `benchmarks/training_free.py`."""
    domains = list(next(iter(results["mIoU"].values())))
    scores = [
        [PROMPTS[prompt], *(spread([100 * value for value in row[domain]], 1) for domain in domains)]
        for prompt, row in results["mIoU"].items()
    ]
    hits = [
        [name, *(spread([100 * value for value in row[domain]], 0) if domain in row else "" for domain in domains)]
        for name, row in results["pointing"].items()
    ]
    settings = results["settings"]
    tried = [[str(t["threshold"]), str(t["refinements"]), f"{100 * t['mIoU']:.1f}"] for t in results["tried"]]
    heading = (
        f"mIoU in %, {results['images']} images per domain, {results['seeds']} seeds of the images (the model draws "
        f"nothing). Threshold {settings['threshold']} and {settings['refinements']} refinements were chosen on photos "
        "of another seed, whose labels count for that alone."
    )
    return (
        "\n\n".join(
            [
                header("Training-free segmentation on Scenes", "training-free", _TRAINING_FREE_HEAD),
                f"{heading}\n\n{table(['prompt', *domains], scores)}",
                "## Pointing game\n\nShare in % of a class's images in which its highest score lies on it; the prompt "
                f"names the classes that are there.\n\n{table(['class', *domains], hits)}",
                f"## Settings that were tried\n\n{table(['threshold', 'refinements', 'mIoU'], tried)}",
                made(results),
            ]
        )
        + "\n"
    )


_TRAINING_FREE_HEAD = """`tadp segment` on the frozen tiny model: no head, no label (class-name maps, start-token
rescaling, refinement by self-attention, background below a threshold). Heads trained on photos of Scenes, to compare
with, are on [the page of the tiny models](scenes.md). The tiny model was taught from masks where words point, so that
naming the classes present nearly gives the mask. Not evidence about photographs."""


def self_training(results: Mapping[str, Any]) -> str:
    """The page of `benchmarks/self_training.py`."""
    settings = results["settings"]
    blocks = [header("Self-training on Scenes", "self-training", _SELF_TRAINING_HEAD)]
    blocks.append(
        f"Heads on the frozen tiny backbone, {settings['train_images']} labelled photos, {settings['target_images']} "
        f"unlabelled images of the target, {settings['steps']} steps, evaluated on {settings['scored_images']} others "
        f"of each; {settings['seeds']} seeds of the head. Source prompts and evaluation use the target's modifier."
    )
    for task, targets in results["rows"].items():
        metric = {"segmentation": "mIoU", "detection": "AP50"}[task]
        for target, ways in targets.items():
            plain = ways["plain"]["target"]
            rows = [
                [
                    _WAYS[way],
                    *(spread([100 * value for value in found[key]], 1) for key in ("source", "target")),
                    "" if way == "plain" else spread(_gains(plain, found["target"]), 1),
                    f"{100 * statistics.mean(found['pseudo_labels']):.0f}" if "pseudo_labels" in found else "",
                ]
                for way, found in ways.items()
            ]
            head = ["modifier seen by", "photo", target, "gain", "pixels or boxes kept, %"]
            blocks.append(f"## {task.capitalize()}, photo to {target}: {metric} in %\n\n{table(head, rows)}")
    return "\n\n".join([*blocks, made(results)]) + "\n"


_SELF_TRAINING_HEAD = """`tadp adapt --self-train` against the same training without it: a teacher, the moving average
of the weights, labels images of the target; what it is sure of trains the student together with the source. No label
of the target is read. Gain: the difference to plain adaptation with the same seed. Not evidence about photographs."""

_WAYS = {
    "plain": "(no self-training)",
    "teacher": "the teacher",
    "student": "the student",
    "both": "both",
}


def _gains(before: Sequence[float], after: Sequence[float]) -> list[float]:
    return [100 * (a - b) for b, a in zip(before, after, strict=True)]
