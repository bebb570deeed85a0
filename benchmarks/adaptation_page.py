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
    parts = [(task, target, part) for task, targets in results.items() for target, part in targets.items()]
    blocks = [header("Self-training on Scenes", "self-training", _SELF_TRAINING_HEAD)]
    blocks += [_self_trained(*one) for one in parts]
    return "\n\n".join([*blocks, _labels_of_teachers(parts), _SELF_TRAINING_FOLLOWS]) + "\n"


def _self_trained(task: str, target: str, part: Mapping[str, Any]) -> str:
    settings, ways = part["settings"], part["rows"]
    rows = [
        [
            _WAYS[way],
            str(len(found["target"])),
            *(spread([100 * value for value in found[key]], 1) for key in ("source", "target")),
            "" if way == "plain" else spread(_gains(ways["plain"]["target"], found["target"]), 1),
            f"{100 * statistics.mean(found['pseudo_labels']):.0f}" if "pseudo_labels" in found else "",
        ]
        for way, found in ways.items()
    ]
    about = (
        f"{settings['train_images']} labelled photos, {settings['target_images']} unlabelled images of the target, "
        f"{settings['steps']} steps, evaluated on {settings['scored_images']} others of each. "
    )
    how = made({"command": "; ".join(part["commands"]), "machine": part["machine"]})
    head = ["modifier seen by", "seeds", "photo", target, "gain", "kept, %"]
    title = f"## {task.capitalize()}, photo to {target}: {_METRIC[task]} in %"
    return f"{title}\n\n{table(head, rows)}\n\n{about}{how}"


def _labels_of_teachers(parts: Sequence[tuple[str, str, Mapping[str, Any]]]) -> str:
    """How good the labels are that the heads without self-training give."""
    rows = []
    for task, target, part in parts:
        plain = part["rows"]["plain"]
        shares = [spread([100 * value for value in plain[name]], 0) for name in ("right", "found", "hidden")]
        rows.append([f"{task}, {target}", *shares])
    head = ["heads", "labels of objects that are right", "objects labelled right", "objects labelled background"]
    return f"{_LABELS}\n\n{table(head, rows)}"


_METRIC = {"segmentation": "mIoU", "detection": "AP50"}
_SELF_TRAINING_HEAD = """`tadp adapt --self-train` against the same training without it: a teacher, the moving average
of the weights, labels images of the target; what it is sure of trains the student together with the source. No label
of the target is read. Gain: the difference to plain adaptation with the same seed. Kept: share of the teacher's
predictions, pixels or boxes, that became labels in the last step. Heads on the frozen tiny backbone; source prompts and
evaluation use the target's modifier. Not evidence about photographs."""
_LABELS = """## Labels that a teacher gives

Of the target's unlabelled images, by the heads without self-training, shares in % of pixels or boxes (IoU 0.5 or more
with an object of the class). The target's labels were read for this table alone."""
_SELF_TRAINING_FOLLOWS = """Where self-training loses, this table suggests why: thresholds that fall with the mean
confidence in a class (FreeMatch) let in many labels of the wrong object, which the student learns. Masks seldom hide an
object as background; the teacher's boxes leave out two of five objects, which the student then learns as background.
Higher thresholds and longer training were not measured."""

_WAYS = {
    "plain": "(no self-training)",
    "teacher": "the teacher",
    "student": "the student",
    "both": "both",
}


def _gains(before: Sequence[float], after: Sequence[float]) -> list[float]:
    """Of the same seeds, of which fewer may have been run with self-training."""
    return [100 * (a - b) for b, a in zip(before, after, strict=False)]
