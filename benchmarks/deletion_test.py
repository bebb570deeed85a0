"""The deletion test over Scenes: does a prediction change where a word attends when the word is taken out?

    python benchmarks/deletion_test.py RUN --images 200 --out docs/results/deletion-test.json

A segmentation run predicts each Scene under its true caption and under the caption without each of its words.
"""

import argparse
import json
import math
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from measuring import machine, write_json

from tadp_cli.app import deletion
from tadp_cli.app.images import scene
from tadp_cli.app.words import spoken_words
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import FULL_PRECISION
from tadp_heads.labelling.encoded_image import EncodedImage


def kinds(model, prompt):
    """{word: object, other content, function}."""
    names = {part for name in model.config.classes for part in name.split()}
    found = {}
    for word in spoken_words(model.backbone, prompt):
        is_object = word.text in names or word.text.removesuffix("s") in names
        found[word.text] = "object" if is_object else "other content" if word.has_content else "function"
    return found


def shuffled(effect, rng):
    """The rank correlation with the map rolled to another place: what chance gives maps of this smoothness."""
    height, width = effect.attention.shape
    moved = np.roll(effect.attention, (int(rng.integers(height)), int(rng.integers(width))), (0, 1))
    return deletion.rank_correlation(moved, effect.change), deletion.share_in_top(moved, effect.change)


def summary(rows):
    """Means over words, and how many."""

    def mean(key):
        values = [row[key] for row in rows if not math.isnan(row[key])]
        return round(float(np.mean(values)), 4) if values else None

    keys = ("changed", "correlation", "top_share", "correlation_rolled", "top_share_rolled")
    return {"words": len(rows)} | {key: mean(key) for key in keys}


def main_metric(run):
    """Of the run on its own validation split."""
    return json.loads((run / "results.json").read_text())["evaluations"][0]["metrics"]["mIoU"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    torch.manual_seed(0)
    rng, rows = np.random.default_rng(0), defaultdict(list)
    model = loaded_model(options.run, FULL_PRECISION, "cpu", read_inside=True)
    for number in range(options.images):
        given = scene(number)
        labels = kinds(model, given.caption)
        for effect in deletion.effects(EncodedImage(model, given.image), given.caption):
            correlation, share = shuffled(effect, rng)
            row = {
                "changed": effect.changed,
                "correlation": effect.correlation,
                "top_share": effect.top_share,
                "correlation_rolled": correlation,
                "top_share_rolled": share,
            }
            rows[labels[effect.word]].append(row)
    found = {
        "command": f"python benchmarks/deletion_test.py RUN --images {options.images}",
        "machine": machine(torch.device("cpu")),
        "images": options.images,
        "top": deletion.TOP,
        "mIoU": main_metric(options.run),
        "words": {kind: summary(of_kind) for kind, of_kind in sorted(rows.items())},
    }
    write_json(options.out, {"captions": found})
    print(json.dumps(found["words"], indent=1))


if __name__ == "__main__":
    main()
