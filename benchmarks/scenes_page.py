"""The page of `benchmarks/scenes.py`, and what README shows of it."""

import statistics
from collections.abc import Mapping
from textwrap import fill
from typing import Any

from page_layout import header, made, spread, spread_note, table

PROMPTS = {
    "empty": "empty",
    "class-names": "all class names",
    "caption": "caption",
    "caption-class-maps": "caption, one attention map per class (our variant)",
    "nouns": "nouns of the caption (TADP(NO))",
    "oracle": "oracle: names of the classes present",
    "simple": "caption, and words for the domain",
    "textual-inversion": "caption, and the domain's learned token",
}
WHEN = {"before": "before learning", "after": "after learning"}
HEAD = (
    "Scenes is built so that the domain matters. It demonstrates the mechanism and is not evidence about photographs. "
    "All\nnumbers are of scenes that no training saw; labels of the evaluation images are used for metrics, "
    "and for\nprompts by the oracle alone."
)


def scenes(results: Mapping[str, Any]) -> str:
    """The page of `benchmarks/scenes.py`."""
    parts = {
        "vae": _vae,
        "pointing": _pointing,
        "captioner": _captioner,
        "encoder": _encoder,
        "grid": _grid,
        "modifiers": _modifiers,
        "demo": _demo,
        "ablation": _ablation,
    }
    measured = {name: part for name, part in parts.items() if name in results}
    blocks = [f"{part(results[name])}\n\n{made(results[name])}" for name, part in measured.items()]
    return "\n\n".join([header("The tiny models on Scenes", "scenes", HEAD), *blocks]) + "\n"


def _vae(part: Mapping[str, Any]) -> str:
    rows = [[f"{db:.1f}" for db in part["db"].values()]]
    text = f"PSNR in dB, {part['images']} images per domain."
    return f"## Reconstruction by the VAE\n\n{text}\n\n{table(list(part['db']), rows)}"


def _pointing(part: Mapping[str, Any]) -> str:
    rows = [
        [domain, *(f"{shares[key]:.3f}" for key in ("own_word", "other_word", "chance"))]
        for domain, shares in part["domains"].items()
    ]
    text = (
        f"Location of the maximum of a class word's cross-attention map, {part['images']} images per domain; prompt: "
        "names of the classes present. Own word: on an object of its class; other word: on one of another's."
    )
    return f"## Pointing game\n\n{text}\n\n{table(['domain', 'own word', 'other word', 'chance'], rows)}"


def _captioner(part: Mapping[str, Any]) -> str:
    domains = part["domains"]
    overall = [[domain, *_in_percent(found)] for domain, found in domains.items()]
    names = dict.fromkeys(name for found in domains.values() for name in found["classes"])
    by_class = []
    for name in names:
        shares = (_in_percent(found["classes"].get(name, {})) for found in domains.values())
        by_class.append([name, *map(" / ".join, shares)])
    examples = "\n".join(f"- {domain}: {'; '.join(found['examples'])}" for domain, found in domains.items())
    text = f"Classes that captions name against those that are there, {part['images']} images per domain, in %."
    return "\n\n".join(
        [
            f"## Captions\n\n{text}",
            table(["domain", "precision", "recall"], overall),
            "By class, precision / recall:",
            table(["class", *domains], by_class),
            f"Captions of the first images:\n\n{examples}",
        ]
    )


def _encoder(part: Mapping[str, Any]) -> str:
    full, small = part["ms_per_image"]["vae"], part["ms_per_image"]["taesd"]
    rows = []
    for task, found in part["tasks"].items():
        in_metres = found["metric"] == "rmse"
        scores = (found[key] for key in ("vae", "as_trained", "trained_on_it"))
        shown = [spread(values, 3) if in_metres else spread([100 * value for value in values], 1) for values in scores]
        rows.append([task, "RMSE in m" if in_metres else found["metric"], *shown])
    text = (
        f"An `AutoencoderTiny` distilled from the VAE's latents, in its place: {small:.2f} against {full:.2f} ms an "
        f"image, {full / small:.1f} times as fast. Heads of the demo on photos, captions as prompts, "
        f"{part['seeds']} seeds."
    )
    head = ["task", "metric", "VAE", "distilled, heads as trained", "distilled, heads trained on it"]
    return f"## Distilled encoder\n\n{text}\n\n{table(head, rows)}"


def _grid(part: Mapping[str, Any]) -> str:
    settings = part["settings"]
    text = (
        f"mIoU in %, heads trained on {settings['train_images']} photos in {settings['steps']} steps as in the demo, "
        f"evaluated on {settings['scored_images']} images per domain. Prompts without words or token for the domain do "
        f"not name it: captions of other domains have lost the words that do. {spread_note(part['seeds'])}"
    )
    return f"## Prompts and domains\n\n{text}\n\n{grid_table(part)}"


def _modifiers(part: Mapping[str, Any]) -> str:
    text = (
        "The same, prompted by captions that name the domain they are tested on, in training and in testing. "
        f"{spread_note(part['seeds'])}"
    )
    learned = [
        [domain, *(f"{100 * (found[when]['learnt'] / found['before']['plain'] - 1):+.2f} %" for when in WHEN)]
        for domain, found in part["personalization"].items()
        if "learnt" in found["before"]
    ]
    losses = "Denoising loss on held-out images under the learned token, compared with the plain caption's:"
    shown = [losses, table(["domain", *WHEN.values()], learned)] if learned else []
    return "\n\n".join([f"## Words and tokens for the domain\n\n{text}", grid_table(part), *shown])


def _demo(part: Mapping[str, Any]) -> str:
    settings = part["settings"]
    text = (
        f"mIoU in %, as `tadp demo` measures it: heads trained on {settings['train_images']} photos in "
        f"{settings['steps']} steps, {settings['scored_images']} images per domain. {spread_note(part['seeds'])}"
    )
    return f"## The demo\n\n{text}\n\n{grid_table(part)}"


def _ablation(part: Mapping[str, Any]) -> str:
    models = {"with": part["models"]["0.5"], "without": part["models"]["0"]}
    text = (
        f"Backbones of {models['with']['steps']} steps, of the same seed and the same scenes, with the grounding loss "
        f"and without. Pointing game, {part['images']} images per domain:"
    )
    rows = [
        [
            domain,
            *(
                f"{model['domains'][domain][key]:.3f}"
                for key in ("own_word", "other_word")
                for model in models.values()
            ),
        ]
        for domain in models["with"]["domains"]
    ]
    head = ["domain", *(f"{word} word, {how}" for word in ("own", "other") for how in models)]
    scores = [
        [PROMPTS[prompt], *(_percent(model["mIoU"][prompt]) for model in models.values())]
        for prompt in models["with"]["mIoU"]
    ]
    heads = f"mIoU in % on photos of heads trained on them as in the demo. {spread_note(part['seeds'])}"
    return "\n\n".join(
        [f"## Without the grounding loss\n\n{text}", table(head, rows), heads, table(["prompt", *models], scores)]
    )


def grid_table(part: Mapping[str, Any]) -> str:
    """Prompts by domains."""
    domains = list(dict.fromkeys(domain for scores in part["mIoU"].values() for domain in scores))
    rows = [
        [PROMPTS[prompt], *(_percent(scores.get(domain)) for domain in domains)]
        for prompt, scores in part["mIoU"].items()
    ]
    return table(["prompt", *domains], rows)


def readme(results: Mapping[str, Any]) -> str:
    """What README shows of the grid and of the captions: a table, and what it says."""
    grid, captioner, pointing = (results[name] for name in ("grid", "captioner", "pointing"))
    others = [found for domain, found in captioner["domains"].items() if domain != "photo"]
    lowest = min(min(found["precision"], found["recall"]) for found in others)
    photo, words = captioner["domains"]["photo"], pointing["domains"]["photo"]
    text = (
        f"{spread_note(grid['seeds'])} Difference to the empty prompt, lowest to highest over the domains: all class "
        f"names {_gain(grid, 'class-names')}, captions {_gain(grid, 'caption')}, with one attention map per class "
        f"{_gain(grid, 'caption-class-maps')}, nouns {_gain(grid, 'nouns')}, oracle {_gain(grid, 'oracle')}. The "
        f"captioner names {100 * photo['recall']:.0f} % of the classes that are on a photo (precision "
        f"{100 * photo['precision']:.0f} %), in the other domains precision and recall are {100 * lowest:.0f} % or "
        f"more. Before any head is trained, a word's attention peaks on an object of its class for "
        f"{100 * words['own_word']:.0f} % of the words on photos, another present object's word there in "
        f"{100 * words['other_word']:.0f} %; chance is {100 * words['chance']:.0f} %."
    )
    under_modifiers = results.get("modifiers", {"mIoU": {}})["mIoU"]
    rows = grid["mIoU"] | {name: scores for name, scores in under_modifiers.items() if name != "caption"}
    return f"{grid_table({'mIoU': rows})}\n\n{fill(text, 120)}"


def _gain(grid: Mapping[str, Any], prompt: str) -> str:
    """Of the means over the empty prompt's, lowest to highest of the domains."""
    scores, empty = grid["mIoU"][prompt], grid["mIoU"]["empty"]
    gains = [100 * (statistics.mean(scores[domain]) - statistics.mean(empty[domain])) for domain in empty]
    return f"{min(gains):+.1f} to {max(gains):+.1f}"


def _percent(values: list[float] | None) -> str:
    return "" if values is None else spread([100 * value for value in values], 1)


def _in_percent(found: Mapping[str, float | None]) -> list[str]:
    """Precision and recall; a class that is never named has no precision."""
    values = (found.get(key) for key in ("precision", "recall"))
    return ["undefined" if value is None else f"{100 * value:.0f}" for value in values]
