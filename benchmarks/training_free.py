"""Training-free segmentation on Scenes: the numbers of docs/results/training-free.md.

    python benchmarks/training_free.py [--seeds 3] [--images 50] [--results docs/results/training-free.json]

Threshold and refinements are chosen on photos of another seed; `python3 tasks.py results` writes the page.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measuring import machine, write_json
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.training_free import TrainingFreeConfig, class_scores, segment
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import is_background, object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.scene import TRAINED_DOMAINS
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.preprocessing import RANGES
from tadp_heads.segmentation import MeanIoU

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "training-free.json"
CHOSEN_ON, FIRST_SEED = 110, 111
"""Seeds of Scenes that neither pre-training nor another benchmark draws."""
PROMPTS = {"class-names": "the names of all classes", "oracle": "those of the classes that are there"}
THRESHOLDS, REFINEMENTS = (0.3, 0.5, 0.7), (0, 2, 4)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/training_free.py", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("runs/training-free"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    backbone = DiffusionBackbone.from_pretrained("tiny").freeze()
    config, tried = choose(backbone, scenes(options.out, "photo", CHOSEN_ON, options.images))
    rows: dict[str, dict[str, list[float]]] = {prompt: {domain: [] for domain in TRAINED_DOMAINS} for prompt in PROMPTS}
    pointing: dict[str, dict[str, list[float]]] = {}
    for seed, domain in product(range(options.seeds), TRAINED_DOMAINS):
        dataset = scenes(options.out, domain, FIRST_SEED + seed, options.images)
        for prompt in PROMPTS:
            metric, hits = measured(backbone, dataset, prompt, config)
            rows[prompt][domain].append(metric)
            if prompt == "oracle":
                for name, share in hits.items():
                    pointing.setdefault(name, {}).setdefault(domain, []).append(share)
    results = {
        "command": f"python benchmarks/training_free.py --seeds {options.seeds} --images {options.images}",
        "machine": machine(torch.device("cpu")),
        "images": options.images,
        "seeds": options.seeds,
        "settings": asdict(config),
        "tried": tried,
        "mIoU": rows,
        "pointing": pointing,
    }
    write_json(options.results, results)
    return 0


def choose(backbone: DiffusionBackbone, dataset: SampleDataset) -> tuple[TrainingFreeConfig, list[dict[str, Any]]]:
    """The settings of the highest mIoU under the oracle's names, and all that were tried."""
    tried = []
    for refinements in REFINEMENTS:
        metrics = {threshold: metric_of(dataset) for threshold in THRESHOLDS}
        for _, scores, target, labels in predictions(
            backbone, dataset, "oracle", TrainingFreeConfig(refinements=refinements)
        ):
            for threshold, metric in metrics.items():
                metric.update(labels[segment(scores, threshold)], target)
        for threshold, metric in metrics.items():
            tried.append({"threshold": threshold, "refinements": refinements, "mIoU": metric.compute()["mIoU"]})
    best = max(tried, key=lambda one: one["mIoU"])
    return TrainingFreeConfig(threshold=best["threshold"], refinements=best["refinements"]), tried


def measured(
    backbone: DiffusionBackbone, dataset: SampleDataset, prompt: str, config: TrainingFreeConfig
) -> tuple[float, dict[str, float]]:
    """mIoU, and for each class the share of its images in which its highest score lies on it."""
    metric, hits = metric_of(dataset), dict[str, list[bool]]()
    for names, scores, target, labels in predictions(backbone, dataset, prompt, config):
        metric.update(labels[segment(scores, config.threshold)], target)
        for index, name in enumerate(names):
            on = target == int(labels[1 + index])
            if on.any():
                hits.setdefault(name, []).append(bool(on.flatten()[scores[index].argmax()]))
    return metric.compute()["mIoU"], {name: sum(found) / len(found) for name, found in sorted(hits.items())}


def metric_of(dataset: SampleDataset) -> MeanIoU:
    return MeanIoU(dataset.classes)


def predictions(backbone: DiffusionBackbone, dataset: SampleDataset, prompt: str, config: TrainingFreeConfig) -> Any:
    """(names, scores (K, H, W), target (H, W), label of each id of a segmentation (1 + K,)) of each image."""
    present, names = present_classes(dataset), object_names(dataset.prompt_names)
    background = next(label for label, name in enumerate(dataset.classes) if is_background(name))
    for image_id in dataset.ids:
        sample = dataset.read(image_id)
        chosen: Sequence[str] = names if prompt == "class-names" else [n for n in names if n in present[image_id]]
        if not chosen:
            continue
        scores = class_scores(backbone, RANGES["sd"](sample.image.as_subclass(Tensor)[None]), chosen, config)
        labels = torch.tensor([background, *(dataset.prompt_names.index(name) for name in chosen)])
        yield chosen, scores, sample.target.as_subclass(Tensor), labels


def scenes(out: Path, domain: str, seed: int, count: int) -> SampleDataset:
    folder = out / "data" / f"{domain}-{seed}-{count}"
    write_scenes(folder, task="segmentation", domain=domain, split="test", count=count, seed=seed)
    return open_folder(folder, "segmentation", "test")


if __name__ == "__main__":
    sys.exit(main())
