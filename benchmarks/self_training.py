"""Self-training against plain adaptation on Scenes: the numbers of docs/results/self-training.md.

    python benchmarks/self_training.py [--seeds 3] [--targets watercolor night] [--out runs/self-training]

Heads on the frozen tiny backbone, trained on photos for as long as the recipe says; unlabelled images of the target
domain are those of its split `train`, evaluation images are others. How good the teacher's labels are is measured on
the heads without self-training, with the target's labels, which no training reads. `python3 tasks.py results` writes
the page.
"""

import argparse
import json
import sys
import time
from itertools import product
from pathlib import Path
from typing import Any

import torch
from measuring import machine, write_json
from pseudo_label_quality import pseudo_label_quality

from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.progress import bars
from tadp_cli.inputs.prepare import cleaned, write_captions
from tadp_cli.pipelines.train_and_evaluate import ensure_experiment
from tadp_cli.prompts.captions import Author
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training.metrics_log import read_steps

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "self-training.json"
WAYS = {
    "plain": {},
    "teacher": {"self_training.prompted": "teacher"},
    "student": {"self_training.prompted": "student"},
    "both": {"self_training.prompted": "both"},
}
"""{row: settings}; plain: without self-training."""
TASKS = {"segmentation": "mIoU", "detection": "AP50"}
SEED = 120
"""Of Scenes; the splits' seeds follow it."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/self_training.py", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--targets", nargs="+", default=["watercolor", "night"])
    parser.add_argument("--tasks", nargs="+", default=["segmentation"], choices=list(TASKS))
    parser.add_argument("--train-images", type=int, default=500)
    parser.add_argument("--target-images", type=int, default=200)
    parser.add_argument("--scored-images", type=int, default=100)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    parser.add_argument("--out", type=Path, default=Path("runs/self-training"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    for task, target in product(options.tasks, options.targets):
        rows: dict[str, dict[str, list[float]]] = {}
        for seed, way in product(range(options.seeds), options.ways):
            for name, value in measured(options, task, target, way, seed).items():
                rows.setdefault(way, {}).setdefault(name, []).append(value)
            print(f"{task} {target} {way} seed {seed}: {time.process_time():.0f} CPU seconds so far", flush=True)
        keep(options, task, target, rows)
    print(options.results.read_text())
    return 0


def keep(options: argparse.Namespace, task: str, target: str, rows: dict[str, Any]) -> None:
    """Put the rows into the file, beside the target's rows of the same settings."""
    known = json.loads(options.results.read_text()) if options.results.is_file() else {}
    settings = {name: getattr(options, name) for name in ("train_images", "target_images", "scored_images", "steps")}
    before = known.setdefault(task, {}).get(target, {})
    if before.get("settings") != settings:
        before = {"commands": [], "rows": {}}
    given = f"--tasks {task} --targets {target} --ways {' '.join(options.ways)} --seeds {options.seeds}"
    command = f"python benchmarks/self_training.py {given} --steps {options.steps}"
    known[task][target] = {
        "commands": list(dict.fromkeys([*before["commands"], command])),
        "machine": machine(torch.device("cpu")),
        "settings": settings,
        "rows": before["rows"] | rows,
    }
    write_json(options.results, known)


def measured(options: argparse.Namespace, task: str, target: str, way: str, seed: int) -> dict[str, float]:
    """The main metric on source and target, and how self-training went."""
    data = options.out / "data" / task
    source = scenes(data / "photo", task, "photo", train=options.train_images, val=options.scored_images)
    other = scenes(data / target, task, target, train=options.target_images, test=options.scored_images)
    captions = {name: captioned(options, task, folder, name) for name, folder in (("photo", source), (target, other))}
    changes: dict[str, Any] = {
        "data.folder": str(source),
        "data.captions": str(captions["photo"]),
        "test.folder": str(other),
        "test.captions": str(captions[target]),
        "prompt.domain": target,
        "prompt.modifier": "simple",
        "train.steps": options.steps,
        "train.seed": seed,
        "train.precision": "fp32",
        "train.flip": False,
        "train.cache": str(options.out / "cache"),  # features of the frozen backbone are the same for all rows
    }
    if way != "plain":
        changes |= {
            "self_training.images": str(other),
            "self_training.split": "train",
            "self_training.captions": str(captions[target]),
            "self_training.start": options.steps // 3,
        }
        changes |= WAYS[way]
    run = options.out / task / target / f"{way}-seed{seed}"
    with bars() as report:
        results = ensure_experiment(load_recipe(f"scenes-{task}").replace(**changes), run, report=report)
    on_source, on_target = (entry["metrics"][TASKS[task]] for entry in results["evaluations"])
    last = read_steps(run / "metrics.jsonl")[-1]
    monitored = {name: last[name] for name in ("pseudo_labels", "effective_classes") if name in last}
    if way == "plain":
        monitored = pseudo_label_quality(run, other, "train", captions[target])
    return {"source": on_source, "target": on_target, **monitored}


def captioned(options: argparse.Namespace, task: str, folder: Path, domain: str) -> Path:
    """Captions of all splits, those of a target without the words for its domain."""
    recipe = load_recipe(f"scenes-{task}", ("data.captioner=tiny",))
    splits = ("train", "val" if domain == "photo" else "test")
    file = options.out / "captions" / f"{task}-{domain}.jsonl"
    with bars() as report:
        write_captions(recipe, str(folder), splits, file, Author(**recipe.captioning), report)
    return file if domain == "photo" else cleaned(file, domain)


def scenes(folder: Path, task: str, domain: str, **counts: int) -> Path:
    """Of each split so many images, with a seed of its own."""
    for split, count in counts.items():
        seed = SEED + ["train", "val", "test"].index(split) + (10 if domain != "photo" else 0)
        write_scenes(folder, task=task, domain=domain, split=split, count=count, seed=seed)
    return folder


if __name__ == "__main__":
    sys.exit(main())
