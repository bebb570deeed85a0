"""`tadp predict` and `tadp eval` with a model of Stable Diffusion 1.5's size: `python benchmarks/predict.py`.

Random weights, captions by the tiny captioner, images of 512 x 512. Both commands run in turns in fp32, and with
their defaults. Prints images per second, loading left out of
`predict` and part of `eval`, and the ratio of both ways' seconds; writes them as JSON.
"""

import argparse
import json
import shutil
import statistics
import time
from itertools import product
from pathlib import Path

import torch
from baselines import random_backbone
from measuring import machine, write_json

from tadp_backbone import DiffusionBackbone
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.evaluate import evaluated as evaluation
from tadp_cli.pipelines.predict import PredictOptions, predict_images
from tadp_cli.precision import FULL_PRECISION, Speed
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.shapes import CLASSES as SHAPES
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.model_config import PerceptionConfig
from tadp_heads.tasks import get_task

SIDE = {"sd15": 512, "toy": 128}
CLASSES = ("background", *SHAPES)


def write_run(folder: Path, size: str) -> None:
    """A run as `tadp predict` takes it, of random weights; the text encoder is the tiny model's, widened by zeros."""
    torch.manual_seed(0)
    backbone = random_backbone(size)
    tiny = DiffusionBackbone.from_pretrained("tiny")
    width = tiny.unet.config.cross_attention_dim
    whole = DiffusionBackbone(unet=_reading_contexts_of(backbone, width), vae=backbone.vae,
                              text_encoder=tiny.text_encoder, tokenizer=tiny.tokenizer)  # fmt: skip
    head = get_task("segmentation").build_head(whole.levels, CLASSES, variant="ade")
    config = PerceptionConfig(task="segmentation", classes=CLASSES, captioner="tiny")
    PerceptionModel(whole.eval(), head, config).save_pretrained(folder)
    recipe = load_recipe("segmentation").replace(
        **{"data.captioner": "tiny", "train.precision": "bf16", "protocol": "whole"}
    )
    (folder / "config.toml").write_text(recipe.to_toml())
    (folder / "results.json").write_text(json.dumps({"evaluations": []}))
    (folder / "prompt_names.json").write_text(json.dumps({name: name for name in CLASSES}))


def _reading_contexts_of(backbone: DiffusionBackbone, width: int) -> torch.nn.Module:
    """The UNet with contexts of another width."""
    config = {**backbone.unet.config, "cross_attention_dim": width}
    return type(backbone.unet).from_config(config).eval()


def predicted(run: Path, data: Path, out: Path, speed: Speed, device: str) -> float:
    """Seconds of `tadp predict` without loading."""
    images = [str(data / "images")]
    done = predict_images(run, images, out, PredictOptions(speed=speed), device=device, report=lambda *_: None)
    if done.failed:
        raise RuntimeError(next(iter(done.failed.values())))
    return done.seconds


def evaluated(run: Path, data: Path, out: Path, speed: Speed, device: str) -> float:
    """Seconds of `tadp eval`."""
    start = time.perf_counter()
    evaluation(run, folder=str(data), split="val", speed=speed, device=device)
    return time.perf_counter() - start


COMMANDS = {"predict": predicted, "eval": evaluated}
WAYS = {"defaults": Speed(), "fp32": FULL_PRECISION}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIDE, default="sd15")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--images", type=int, default=0, help="0: 100, of size toy 4")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/benchmarks/predict"))
    given = parser.parse_args()
    count = given.images or (4 if given.size == "toy" else 100)
    run, data = given.out / "run", given.out / "data"
    shutil.rmtree(given.out, ignore_errors=True)
    write_run(run, given.size)
    write_scenes(data, task="segmentation", domain="photo", split="val", count=count, seed=0, size=SIDE[given.size])
    seconds: dict[str, dict[str, list[float]]] = {command: {way: [] for way in WAYS} for command in COMMANDS}
    for turn, (command, measure), (way, speed) in product(range(given.rounds), COMMANDS.items(), WAYS.items()):
        took = measure(run, data, given.out / f"{command}-{way}-{turn}", speed, given.device)
        seconds[command][way].append(took)
        print(f"{command:8} {way:10} {count / took:.3g} images/s", flush=True)
        found = {"images": count, "machine": machine(torch.device(given.device)), "seconds": seconds}
        write_json(given.out / "predict.json", found)
    for command, of in seconds.items():
        ratio = statistics.median(b / a for a, b in zip(of["fp32"], of["defaults"], strict=True))
        print(f"{command:8} defaults take {ratio:.2f} of the time of fp32")
    shutil.rmtree(run)


if __name__ == "__main__":
    main()
