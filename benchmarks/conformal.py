"""Whether the guarantee of an image tagger's conformal thresholds holds, and on which domains it does not.

    python benchmarks/conformal.py [--out runs/conformal]

The tagger is the captioner (its word probabilities), which has seen no label of these images. Thresholds are chosen on
some photos and tested on others, over many splits of one pool, and on other domains. The results are
docs/results/conformal.json; `python3 tasks.py results` writes the page.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from measuring import machine, write_json
from torch import Tensor
from torchvision.transforms.v2.functional import to_pil_image

from tadp_captioning import load_captioner
from tadp_captioning.taggers.word_probabilities import WordProbabilities
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.tagging import conformal_threshold

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "conformal.json"
POOL, CALIBRATION, IMAGES, SPLITS = 600, 300, 150, 200
"""Photos, those of them that a threshold is chosen on, images of each other domain, and random splits."""
SHARES, CONFIDENCE = (0.8, 0.9), 0.9
TRAINED = ("watercolor", "comic", "night")
UNSEEN = ("sketch", "neon", "mosaic", "sepia")
SEED = 104


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/conformal.py", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/conformal"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    how = {"command": "python benchmarks/conformal.py", "machine": machine(torch.device("cpu"))}
    write_json(options.results, {"the captioner's chances of words": {**how, **measure(options.out)}})
    print(options.results)
    return 0


def measure(out: Path, pool: int = POOL, calibration: int = CALIBRATION, images: int = IMAGES) -> dict[str, Any]:
    """The shares of an image's classes that are named."""
    photos = tagged(out, "photo", pool)
    others = {domain: tagged(out, domain, images) for domain in (*TRAINED, *UNSEEN)}
    asked: list[dict[str, float]] = []
    shares: dict[str, list[float]] = {domain: [] for domain in others}
    for recall in SHARES:
        found = [_split(*photos, calibration, recall, seed) for seed in range(SPLITS)]
        kept = sum(share >= recall for share, _, _ in found) / SPLITS
        mean = sum(share for share, _, _ in found) / SPLITS
        named = sum(count for _, count, _ in found) / SPLITS
        asked.append({"recall": recall, "kept": kept, "mean": mean, "named": named})
        for domain, (probabilities, present) in others.items():
            shares[domain].append(share_named(probabilities, present, found[0][2]))
    sizes = {"calibration_images": calibration, "images": images, "splits": SPLITS, "confidence": CONFIDENCE}
    return {**sizes, "photos": asked, "domains": shares, "unseen": UNSEEN}


def _split(probabilities: Tensor, present: Tensor, calibration: int, recall: float, seed: int) -> tuple[float, ...]:
    """(share named of the photos that the threshold was not chosen on, classes named per photo, threshold)."""
    order = torch.randperm(len(present), generator=torch.Generator().manual_seed(seed))
    own, rest = order[:calibration], order[calibration:]
    found = conformal_threshold(probabilities[own], present[own], recall=recall, confidence=CONFIDENCE).threshold
    named = (probabilities[rest] >= found).sum(1).float().mean().item()
    return share_named(probabilities[rest], present[rest], found), named, found


def share_named(probabilities: Tensor, present: Tensor, threshold: float) -> float:
    """Mean over images with classes of the share of their classes that is named."""
    rows = present.any(1)
    named = ((probabilities >= threshold) * present)[rows].sum(1) / present[rows].sum(1)
    return named.mean().item()


def tagged(out: Path, domain: str, count: int) -> tuple[Tensor, Tensor]:
    """Of so many scenes: the tagger's probabilities (N, K) to three decimals, and the labels (N, K)."""
    write_scenes(out / domain, task="segmentation", domain=domain, split="test", count=count, seed=SEED)
    dataset = open_folder(out / domain, "segmentation", "test")
    names = object_names(dataset.prompt_names)
    images = [to_pil_image(dataset.read(image_id).image) for image_id in dataset.ids]
    present = present_classes(dataset)
    labels = torch.tensor([[float(name in present[i]) for name in names] for i in dataset.ids])
    chances = WordProbabilities(load_captioner("tiny"), names).probabilities(images)
    return chances.mul(1000).round() / 1000, labels


if __name__ == "__main__":
    sys.exit(main())
