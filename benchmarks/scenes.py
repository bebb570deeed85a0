"""What the tiny models do on Scenes that they have not seen: the numbers of docs/results/scenes.md.

    python benchmarks/scenes.py [vae pointing captioner encoder grid modifiers demo ablation] [--out runs/scenes]

Each part replaces its entry in docs/results/scenes.json; `python3 tasks.py results` writes the page. Trained heads and
captions stay in `--out`, where an interrupted run resumes.

`ablation`, which is not among the default, is of two models that were pre-trained briefly, in `--out`/pretrain:

    python -m pretrain --stages backbone --stop 1800 --out runs/scenes/pretrain
    python -m pretrain --stages backbone --stop 1800 --grounding 0 --out runs/scenes/pretrain
"""

import argparse
import json
import statistics
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import cost, machine, write_json

from tadp_backbone import DiffusionBackbone
from tadp_backbone.io.hub import fetch_taesd
from tadp_captioning.stats import class_report
from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.progress import bars
from tadp_cli.experiments.demo import QUICK, Plan, run_demo
from tadp_cli.experiments.pointing_game import pointing_game
from tadp_cli.pipelines.evaluate import open_run
from tadp_cli.pipelines.train import train
from tadp_cli.prompts.builder import PromptContexts
from tadp_cli.prompts.captions import Author, captions_of
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.scene import TRAINED_DOMAINS
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training import evaluate

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "scenes.json"
SEED = 102
"""Of the scenes that are measured on; pre-training draws those of seed 1."""
IMAGES = 200
TARGETS = ("watercolor", "comic", "night")
SEEDS = 3
"""Of heads: spread is shown over them."""
MAIN_METRIC = {"segmentation": "mIoU", "depth": "rmse", "detection": "AP"}


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python benchmarks/scenes.py", description=__doc__)
    parser.add_argument(
        "parts", nargs="*", default=[*DEFAULT], help=f"of {', '.join(PARTS)}; {', '.join(DEFAULT)} by default"
    )
    parser.add_argument("--out", type=Path, default=Path("runs/scenes"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.parts) - set(PARTS))
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; choose from {', '.join(PARTS)}")
    for part in options.parts:
        how = {"command": f"python benchmarks/scenes.py {part}", "machine": machine(torch.device("cpu"))}
        measured = {**how, **PARTS[part](options.out)}
        known = json.loads(options.results.read_text()) if options.results.is_file() else {}
        known[part] = measured
        write_json(options.results, {name: known[name] for name in PARTS if name in known})
        print(json.dumps(measured, indent=1))
    return 0


def vae(out: Path) -> dict[str, Any]:
    """PSNR of reconstructions."""
    sys.path.append(str(Path(__file__).resolve().parents[1]))  # where pretrain/ is
    from pretrain.corpus import render_chunk
    from pretrain.vae import reconstruction_db

    backbone = DiffusionBackbone.from_pretrained("tiny", keep_decoder=True)
    chunk = render_chunk(SEED, 0, IMAGES * len(TRAINED_DOMAINS))
    return {"images": IMAGES, "db": reconstruction_db(backbone.vae, chunk)}


def pointing(out: Path) -> dict[str, Any]:
    """Where the maxima of class words' cross-attention lie."""
    backbone = DiffusionBackbone.from_pretrained("tiny").freeze()
    return {
        "images": IMAGES,
        "domains": {domain: pointing_game(backbone, _scenes(out, domain)) for domain in TRAINED_DOMAINS},
    }


def captioner(out: Path) -> dict[str, Any]:
    """Which classes captions name."""
    domains = {}
    for domain in TRAINED_DOMAINS:
        dataset = _scenes(out, domain)
        store = captions_of(dataset, None, Author(captioner="tiny"), written_to=out / "captions" / f"{domain}.jsonl")
        report = class_report(store, present_classes(dataset), object_names(dataset.prompt_names))
        classes = {name: found._asdict() for name, found in report.by_class.items()}
        examples = [store[image_id] for image_id in dataset.ids[:3]]
        domains[domain] = {**report.overall._asdict(), "classes": classes, "examples": examples}
    return {"images": IMAGES, "domains": domains}


def encoder(out: Path) -> dict[str, Any]:
    """What the distilled encoder costs and saves: with heads trained on the VAE, and trained on the encoder itself."""
    images = torch.rand(16, 3, 64, 64) * 2 - 1
    ways = {name: partial(_encoder(None if name == "vae" else name).encode_image, images) for name in ("vae", "taesd")}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(10):  # taken in turn: the machine's speed drifts
        for name, encode in ways.items():
            times[name].append(cost(encode, torch.device("cpu"), rounds=5).seconds)
    milliseconds = {name: 1e3 * statistics.median(values) / len(images) for name, values in times.items()}
    tasks = {task: _with_encoder(out, task) for task in MAIN_METRIC}
    return {"seeds": SEEDS, "ms_per_image": milliseconds, "tasks": tasks}


def _encoder(vae: str | None) -> DiffusionBackbone:
    return DiffusionBackbone.from_pretrained("tiny", vae=vae).freeze()


def _with_encoder(out: Path, task: str) -> dict[str, Any]:
    """The main metric of each seed on photos: behind the VAE, and behind the other encoder with two kinds of heads."""
    metric = MAIN_METRIC[task]
    found: dict[str, list[float]] = {"vae": [], "as_trained": [], "trained_on_it": []}
    for seed in range(SEEDS):
        for vae in ("", "taesd"):
            run = out / "encoder" / task / f"{vae or 'vae'}-seed{seed}"
            metrics = _trained_on_photos(run, out / "encoder" / "data", task, seed, {"backbone.vae": vae})
            found["trained_on_it" if vae else "vae"].append(metrics[metric])
            if not vae:
                found["as_trained"].append(_evaluate_with_taesd(run)[metric])
    return {"metric": metric, **found}


def _trained_on_photos(run: Path, data: Path, task: str, seed: int, changes: dict[str, Any]) -> dict[str, float]:
    """Metrics of a head trained as in the demo, with `changes` of the recipe; photos lie in `data`."""
    folder = data / task
    for split, count, scenes in (("train", QUICK.train_images, 100), ("val", QUICK.scored_images, 101)):
        write_scenes(folder, task=task, domain="photo", split=split, count=count, seed=scenes)
    settings = {"data.folder": str(folder), "train.steps": QUICK.steps, "train.seed": seed, **changes}
    with bars() as report:
        recipe, resume = load_recipe(f"scenes-{task}").replace(**settings), (run / "config.toml").is_file()
        return train(recipe, run, resume=resume, report=report)["evaluations"][0]["metrics"]


def _evaluate_with_taesd(run: Path) -> dict[str, float]:
    """Metrics of a run's head behind the other encoder."""
    opened = open_run(run)
    opened.model.backbone.use_vae(fetch_taesd("tiny"))
    return evaluate(opened.model, opened.dataset, PromptContexts(opened.prompts, opened.model.backbone))


def grid(out: Path) -> dict[str, Any]:
    """mIoU of heads trained on photos as in the demo, by prompt and by domain; and under the nouns of captions."""
    prompts = (*QUICK.prompts, "nouns")
    return _demo(out / "grid", replace(QUICK, targets=TARGETS, seeds=SEEDS, prompts=prompts, modifiers=()))


def modifiers(out: Path) -> dict[str, Any]:
    """mIoU of heads trained on photos under captions that name the target's domain, by modifier and by domain."""
    return _demo(out / "modifiers", replace(QUICK, targets=TARGETS, seeds=SEEDS, prompts=("caption",)))


def demo(out: Path) -> dict[str, Any]:
    """The demo's own numbers, one seed; of `tadp demo` in the folder demo of `out`, where it is there."""
    return _demo(out / "demo", QUICK)


def _demo(out: Path, plan: Plan) -> dict[str, Any]:
    with bars() as report:
        results = run_demo(out, plan, device="cpu", seed=0, report=report)
    rows: dict[str, dict[str, list[float]]] = {}
    for row in results["rows"]:
        how = row["prompt"] if row["modifier"] in (None, "null") else row["modifier"]
        rows.setdefault(how, {}).setdefault(row["test"], []).append(row["metrics"]["mIoU"])
    settings = {"train_images": plan.train_images, "scored_images": plan.scored_images, "steps": plan.steps}
    others = {"captions": results["captions"], "personalization": results["personalization"]}
    return {"seeds": plan.seeds, "settings": settings, "mIoU": rows, **others}


def ablation(out: Path) -> dict[str, Any]:
    """What the grounding loss brings: two models of equally many steps, with it and without."""
    folders = {grounding: out / "pretrain" / f"unet-grounding-{grounding}" for grounding in ("0", "0.5")}
    steps = {grounding: _steps_of(folder) for grounding, folder in folders.items()}
    if len(set(steps.values())) > 1:
        raise SystemExit(f"{out / 'pretrain'}: models of {steps} steps by weight: train both to the same step")
    models = {}
    for grounding, folder in folders.items():
        backbone = DiffusionBackbone.from_pretrained(folder / "pipeline").freeze()
        domains = {domain: pointing_game(backbone, _scenes(out, domain)) for domain in TRAINED_DOMAINS}
        heads = {prompt: _heads_on(out, folder / "pipeline", prompt) for prompt in ("empty", "oracle")}
        models[grounding] = {"steps": steps[grounding], "domains": domains, "mIoU": heads}
    return {"images": IMAGES, "seeds": SEEDS, "models": models}


def _steps_of(folder: Path) -> int:
    """Steps of a pre-training, as far as it has come: weights are exported on the way too."""
    if not (folder / "pipeline").is_dir():
        raise SystemExit(f"{folder} holds no pipeline: train both models first, by the commands in --help")
    return json.loads((folder / "metrics.jsonl").read_text().splitlines()[-1])["step"]


def _heads_on(out: Path, pipeline: Path, prompt: str) -> list[float]:
    """mIoU on photos of each seed of a head trained on this model."""
    changes = {"prompt.kind": prompt, "backbone.source": str(pipeline)}
    runs = [out / "ablation" / f"{pipeline.parent.name}-{prompt}-seed{seed}" for seed in range(SEEDS)]
    data = out / "ablation" / "data"
    return [_trained_on_photos(run, data, "segmentation", seed, changes)["mIoU"] for seed, run in enumerate(runs)]


def _scenes(out: Path, domain: str) -> SampleDataset:
    write_scenes(out / "data" / domain, task="segmentation", domain=domain, split="test", count=IMAGES, seed=SEED)
    return open_folder(out / "data" / domain, "segmentation", "test")


PARTS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "vae": vae,
    "pointing": pointing,
    "captioner": captioner,
    "encoder": encoder,
    "grid": grid,
    "modifiers": modifiers,
    "demo": demo,
    "ablation": ablation,
}
DEFAULT = tuple(name for name in PARTS if name != "ablation")

if __name__ == "__main__":
    sys.exit(main())
