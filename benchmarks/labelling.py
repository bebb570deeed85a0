"""What class names, and a choice of the images to label next, are worth when the budget for labels is small.

    python benchmarks/labelling.py [budget next errors] [--seeds 0 1 2]

budget: a head trained on `--start` masks is improved in two ways at the same cost. masks: so many more masks. names:
the classes of 40 times as many images (annotation cost ratio mask : name = 40 : 1), whose masks the head predicts under
their names, and a head trained on all of them. next: images are labelled `--step` at a time, chosen by disagreement
between prompts, by entropy or at random (as `tadp label-next` chooses), and a head is retrained. errors: AUROC of
finding the head's wrong pixels by each uncertainty.

Small-scale setting: Scenes, the tiny backbone, whose features are computed once, semantic FPNs of 32 channels. mIoU on
images that no training saw, prompted with the names of the classes present. Results replace their entries in
docs/results/labelling.json; `python3 tasks.py results` writes the page and its figures.
"""

import argparse
import hashlib
import json
import random
import tempfile
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import torch
from labelling_page import draw
from measuring import machine, write_json
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.registry import BACKBONES
from tadp_captioning import class_names_prompt
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.labelling.selection import disagreement, diverse, entropy, error_auroc
from tadp_heads.preprocessing import RANGES
from tadp_heads.segmentation import FPNHead, MeanIoU, SegmentationTask

# N images, K classes, H W image pixels.

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "labelling.json"
COST_RATIO = 40
"""Names of so many images cost what one mask costs."""
POOL_FACTOR = 4
"""As in `tadp label-next`: among so many times the step, the most uncertain, images are chosen that differ most."""
UNET = "weights/tiny/unet/diffusion_pytorch_model.safetensors"
DATA_SEED = 103
"""Of the scenes; pre-training draws those of seed 1."""
TASK = SegmentationTask()
RATE = 1.5e-2
"""Of the recipe of Scenes, as are AdamW's moments: at a lower one most classes are not learned in so few steps."""
Levels = list[Tensor]
"""Finest first, (N, C, h, w)."""


class Domain(NamedTuple):
    """Images of one domain and their features under each kind of prompt."""

    masks: Tensor
    """(N, H, W) ids."""
    features: dict[str, Levels]
    """"present": under the names of the classes present; "all": of all classes; "none": under no text."""
    classes: tuple[str, ...]


@torch.no_grad()
def read_domain(name: str, count: int, prompts: tuple[str, ...]) -> Domain:
    """`count` scenes; each is encoded once."""
    backbone = DiffusionBackbone.from_pretrained("tiny")
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), task="segmentation", domain=name, split="train", count=count, seed=DATA_SEED)
        dataset = open_folder(Path(folder), "segmentation")
        samples = [dataset.read(sample_id) for sample_id in dataset.ids]
    masks = torch.stack([sample.target.as_subclass(Tensor) for sample in samples])
    objects = [name for name in dataset.prompt_names if name]
    found: dict[str, list[Levels]] = {name: [] for name in prompts}
    for start in range(0, count, 16):
        images = torch.stack([sample.image.as_subclass(Tensor) for sample in samples[start : start + 16]])
        latents = backbone.encode_image(RANGES["sd"](images))
        present = [[dataset.prompt_names[k] for k in mask.unique().tolist()] for mask in masks[start : start + 16]]
        texts = {
            "present": [class_names_prompt([name for name in names if name]) for names in present],
            "all": [class_names_prompt(objects)] * len(images),
            "none": [""] * len(images),
        }
        for name in prompts:
            levels = backbone.extract(latents, backbone.encode_text(texts[name])).levels
            found[name].append([level.half() for level in levels])
    features = {name: [torch.cat(parts) for parts in zip(*batches, strict=True)] for name, batches in found.items()}
    return Domain(masks, features, dataset.classes)


def of(levels: Levels, ids: list[int]) -> Levels:
    """Features of some images."""
    return [level[ids].float() for level in levels]


def trained(domain: Domain, masks: Tensor, ids: list[int], steps: int, seed: int) -> FPNHead:
    """A head trained on images `ids` with `masks` (N, H, W), under the names of the classes present."""
    torch.manual_seed(seed)
    levels = domain.features["present"]
    pyramid = [(level.shape[1], 4 * 2**i) for i, level in enumerate(levels)]
    head = FPNHead(pyramid, len(domain.classes), variant="ade", width=32).train()
    optimizer = torch.optim.AdamW(head.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, cycle_momentum=False)
    draw = random.Random(seed)
    for _ in range(steps):
        batch = [draw.choice(ids) for _ in range(8)]
        loss = TASK.loss(head, of(levels, batch), list(masks[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return head.eval()


@torch.no_grad()
def probabilities(head: FPNHead, levels: Levels, ids: list[int], size: tuple[int, int]) -> Tensor:
    """(N, K, H, W)."""
    return torch.cat([TASK.output(head, of(levels, [one]), size).logits.softmax(1) for one in ids])


def miou(head: FPNHead, domain: Domain, ids: list[int]) -> float:
    """In [0, 1]."""
    metric = MeanIoU(domain.classes)
    size = tuple(domain.masks.shape[1:])
    found = probabilities(head, domain.features["present"], ids, size).argmax(1)
    for prediction, one in zip(found, ids, strict=True):
        metric.update(prediction, domain.masks[one])
    return float(metric.compute()["mIoU"])


def uncertainties(head: FPNHead, domain: Domain, ids: list[int]) -> dict[str, Tensor]:
    """(N, H, W) each, of prompts that do not know the classes present."""
    size = tuple(domain.masks.shape[1:])
    both = torch.stack([probabilities(head, domain.features[name], ids, size) for name in ("all", "none")])
    return {"text": disagreement(both), "entropy": entropy(both[0]), "all": both[0]}


def budget(options: argparse.Namespace) -> dict:
    """{domain: {arm: {added cost in masks: [mIoU per seed]}}}."""
    results = {}
    for name in options.domains:
        domain = read_domain(name, options.pool + options.val, ("present",))
        val = [*range(options.pool, options.pool + options.val)]
        arms: dict[str, dict[str, list[float]]] = {"masks": {}, "names": {}}
        for seed in options.seeds:
            order = random.Random(seed).sample(range(options.pool), options.pool)
            start = order[: options.start]
            head = trained(domain, domain.masks, start, options.steps, seed)
            for arm in arms.values():
                arm.setdefault("0", []).append(miou(head, domain, val))
            for extra in options.extra:
                more = trained(domain, domain.masks, order[: options.start + extra], options.steps, seed)
                arms["masks"].setdefault(str(extra), []).append(miou(more, domain, val))
                named = order[options.start : options.start + extra * COST_RATIO]
                masks = domain.masks.clone()
                size = tuple(masks.shape[1:])
                masks[named] = probabilities(head, domain.features["present"], named, size).argmax(1)
                pseudo = trained(domain, masks, [*start, *named], options.steps, seed)
                arms["names"].setdefault(str(extra), []).append(miou(pseudo, domain, val))
            print("budget", name, seed, arms, flush=True)
        results[name] = arms
    return results


def choose(by: str, head: FPNHead, domain: Domain, labelled: list[int], options: argparse.Namespace, seed: int):
    """The images to label next."""
    left = [one for one in range(options.pool) if one not in labelled]
    if by == "random":
        return random.Random(seed + len(labelled)).sample(left, options.step)
    scores = uncertainties(head, domain, left)[by].mean((1, 2)).tolist()
    ranked = [one for _, one in sorted(zip(scores, left, strict=True), reverse=True)][: options.step * POOL_FACTOR]
    coarse = domain.features["all"][-1].float().mean((2, 3))
    return diverse(dict(enumerate(coarse)), ranked, labelled, options.step)


def next_images(options: argparse.Namespace) -> dict:
    """{choice: {labelled images: [mIoU per seed]}}."""
    domain = read_domain(options.domains[0], options.pool + options.val, ("present", "all", "none"))
    val = [*range(options.pool, options.pool + options.val)]
    curves: dict[str, dict[str, list[float]]] = {by: {} for by in ("text", "entropy", "random")}
    for seed in options.seeds:
        start = random.Random(seed).sample(range(options.pool), options.start)
        first = trained(domain, domain.masks, start, options.steps, seed)
        for by, curve in curves.items():
            labelled, head = list(start), first
            curve.setdefault(str(len(labelled)), []).append(miou(head, domain, val))
            for _ in range(options.rounds):
                labelled += choose(by, head, domain, labelled, options, seed)
                head = trained(domain, domain.masks, labelled, options.steps, seed)
                curve.setdefault(str(len(labelled)), []).append(miou(head, domain, val))
        print("next", seed, curves, flush=True)
    return curves


def errors(options: argparse.Namespace) -> dict:
    """{domain: {uncertainty: [AUROC per seed]}}, and the share of wrong pixels under "wrong"."""
    results = {}
    for name in options.domains:
        pool = 3 * options.start
        domain = read_domain(name, pool + options.val, ("present", "all", "none"))
        val = [*range(pool, pool + options.val)]
        found: dict[str, list[float]] = {"text": [], "entropy": [], "wrong": []}
        for seed in options.seeds:
            labelled = random.Random(seed).sample(range(pool), options.start)
            head = trained(domain, domain.masks, labelled, options.steps, seed)
            maps = uncertainties(head, domain, val)
            wrong = (maps["all"].argmax(1) != domain.masks[val]).flatten()
            found["wrong"].append(float(wrong.float().mean()))
            for by in ("text", "entropy"):
                found[by].append(error_auroc(maps[by].flatten(), wrong))
        results[name] = found
        print("errors", name, found, flush=True)
    return results


def unet_digest() -> str:
    """The first digits: weights may change within a version."""
    with (resources.files("tadp_backbone") / UNET).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]


SETTINGS = ("pool", "val", "start", "extra", "step", "rounds", "steps")
PARTS = {"budget": budget, "next": next_images, "errors": errors}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {', '.join(PARTS)}; all of them by default")
    parser.add_argument("--domains", nargs="+", default=["photo", "watercolor", "sketch"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of heads and of the first masks")
    parser.add_argument("--pool", type=int, default=180, help="images of a domain")
    parser.add_argument("--val", type=int, default=60)
    parser.add_argument("--start", type=int, default=10, help="masks to begin with")
    parser.add_argument("--extra", nargs="+", type=int, default=[1, 4], help="masks that are added")
    parser.add_argument("--step", type=int, default=10, help="images that are chosen per round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=300, help="of training")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    for part in options.parts:
        measured = PARTS[part](options)
        known = json.loads(options.results.read_text()) if options.results.is_file() else {}
        settings = {name: getattr(options, name) for name in SETTINGS}
        given = {"seeds": options.seeds, **settings}
        words = [f"--{name} {' '.join(map(str, v)) if isinstance(v, list) else v}" for name, v in given.items()]
        command = " ".join(["python benchmarks/labelling.py", part, *words])
        weights = f"{BACKBONES['tiny'].version}, UNet SHA-256 {unet_digest()}"
        about = {"command": command, "machine": machine(torch.device("cpu")), "weights": weights, "settings": settings}
        values = known.get(part, {}).get("values", {}) | measured
        write_json(options.results, known | {part: {**about, "seeds": len(options.seeds), "values": values}})
    draw(json.loads(options.results.read_text()), options.results.with_suffix(".png"))


if __name__ == "__main__":
    main()
