"""A head on the tiny backbone against a U-Net trained from scratch for the same time, on a user's driving frames.

    python benchmarks/driving.py FOLDER [--train day_train] [--test day_val dusk_test] [--scale 0.5] [--set key=value]

FOLDER is data in the user's segmentation layout. The head is trained as `tadp train scenes-segmentation` does with
SETTINGS on top: frames of one size, mirrored at random, on a frozen backbone. `--set train.transform=user --set
train.size=160` takes random crops, `--set train.unet_lr_scale=0.1` trains the backbone's UNet too. The plain U-Net then
gets the CPU time which that took, features included; it reads the same versions of the same images in the same order,
with the same loss. Both are evaluated on whole frames at the size that `--scale` gives.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import torch
from driving_unet import UNet
from measuring import machine, table_head, table_row, write_json
from PIL import Image

from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.train import train
from tadp_heads.data.files import split_ids
from tadp_heads.data.readers.segmentation_folder import CLASSES_FILE, mask_files
from tadp_heads.data.registry import open_data
from tadp_heads.preprocessing import RANGES
from tadp_heads.segmentation import MeanIoU
from tadp_heads.segmentation.loss import LOSSES
from tadp_heads.segmentation.protocol import get_protocol, predict_probabilities
from tadp_heads.tasks import train_transform
from tadp_heads.training.dataset import TrainingImages

SETTINGS = (
    "prompt.kind=class-names",  # the tiny captioner knows no photographs
    "protocol=whole",
    "train.batch_size=8",
)
UNET_LR = 2e-3


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as work:
        folder = options.folder
        if options.scale != 1:
            folder = resized(options.folder, Path(work) / "frames", (options.train, *options.test), options.scale)
        places = (f"data.folder={folder}", f"data.train={options.train}", f"data.val={options.test[0]}")
        recipe = load_recipe("scenes-segmentation", (*SETTINGS, *places, *options.set))
        rows = measure(recipe, options.test, Path(work) / "run", options.width)
    print("\n".join([table_head(rows[0]), *map(table_row, rows)]))
    if options.out:
        settings = {"scale": options.scale, "width": options.width, "set": [*SETTINGS, *options.set]}
        write_json(options.out, {"machine": machine(torch.device("cpu")), **settings, "rows": rows})
    return 0


def measure(recipe: Recipe, splits: list[str], run: Path, width: int) -> list[dict[str, object]]:
    """A row for each of the two models and each split."""
    seconds, metrics = train_tiny(recipe, run)
    rows = [_row("tiny", recipe, splits[0], recipe.train.steps, seconds, metrics)]
    for split in splits[1:]:
        metrics = evaluate_run(run, split=split)["metrics"]
        rows.append(_row("tiny", recipe, split, recipe.train.steps, seconds, metrics))
    net, steps, spent = train_unet(recipe, seconds, width)
    for split in splits:
        rows.append(_row("U-Net from scratch", recipe, split, steps, spent, score_unet(net, recipe, split)))
    return rows


def train_tiny(recipe: Recipe, run: Path) -> tuple[float, dict[str, float]]:
    """CPU seconds up to the last step, without the evaluation on the recipe's validation split that follows."""
    began, ended = time.process_time(), 0.0

    def watch(what: str, done: int, total: int) -> None:
        nonlocal ended
        if what == "train":
            ended = time.process_time()
            _log("tiny", done, f"{total} in all")

    results = train(recipe, run, report=watch)
    return ended - began, results["evaluations"][0]["metrics"]


def train_unet(recipe: Recipe, seconds: float, width: int) -> tuple[UNet, int, float]:
    """The network after `seconds` on the CPU, the steps it made and the seconds it took."""
    began, config = time.process_time(), recipe.train
    changed = train_transform(recipe.task, config.transform, config.size) if config.transform else None
    dataset = open_data(recipe.data.folder, recipe.task, recipe.data.train, changed)
    reader, normalise = TrainingImages(dataset, config), RANGES[recipe.backbone.image_range]
    loss_of = LOSSES[recipe.loss.get("kind", "cross-entropy")]
    torch.manual_seed(config.seed)
    net = UNet(len(dataset.classes), width).train()
    optimizer = torch.optim.AdamW(net.parameters(), lr=UNET_LR, weight_decay=config.weight_decay)
    steps = 0
    while (spent := time.process_time() - began) < seconds:
        for group in optimizer.param_groups:
            group["lr"] = UNET_LR * (1 - spent / seconds)
        first = steps * config.batch_size
        items = [reader[position] for position in range(first, first + config.batch_size)]
        images = normalise(torch.stack([item.pixels for item in items]))
        loss = loss_of(net(images), torch.stack([item.target.as_subclass(torch.Tensor) for item in items]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
        _log("U-Net", steps, f"{spent:.0f} of {seconds:.0f} s, loss {loss.item():.2f}")
    return net.eval(), steps, time.process_time() - began


@torch.no_grad()
def score_unet(net: UNet, recipe: Recipe, split: str) -> dict[str, float]:
    dataset = open_data(recipe.data.folder, recipe.task, split)
    metric, protocol = MeanIoU(dataset.classes), get_protocol(recipe.protocol)
    for sample in dataset:
        images = RANGES[recipe.backbone.image_range](sample.image[None])
        metric.update(predict_probabilities(net, images, protocol, net.multiple).argmax(1)[0], sample.target)
    return metric.compute()


def resized(folder: Path, out: Path, splits: tuple[str, ...], scale: float) -> Path:
    """The splits' frames in another size: images averaged, masks nearest."""
    images, masks = mask_files(folder)
    out.mkdir()
    (out / CLASSES_FILE).write_text((folder / CLASSES_FILE).read_text())
    for split in splits:
        ids = split_ids(folder, split, images)
        (out / f"{split}.txt").write_text("\n".join(ids) + "\n")
        for image_id in ids:
            for kind, file, method in (
                ("images", images[image_id], Image.Resampling.BOX),
                ("masks", masks[image_id], Image.Resampling.NEAREST),
            ):
                target = out / kind / f"{image_id}.png"
                target.parent.mkdir(parents=True, exist_ok=True)
                with Image.open(file) as image:
                    size = (round(image.width * scale), round(image.height * scale))
                    image.resize(size, method).save(target)
    return out


def _row(
    model: str, recipe: Recipe, split: str, steps: int, seconds: float, metrics: dict[str, float]
) -> dict[str, object]:
    images = len(open_data(recipe.data.folder, recipe.task, split))
    row = {"model": model, "trained on": recipe.data.train, "steps": steps, "CPU s": seconds}
    return {
        **row,
        "scored on": split,
        "images": images,
        **{f"{name} %": 100 * value for name, value in metrics.items()},
    }


def _log(model: str, step: int, state: str) -> None:
    if step % 10 == 0:
        print(f"{model}: step {step}, {state}", file=sys.stderr, flush=True)


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="images/ masks/ classes.txt and split files")
    parser.add_argument("--train", default="day_train", help="split to learn from")
    parser.add_argument("--test", nargs="+", default=["day_val", "dusk_test"], help="splits to evaluate on")
    parser.add_argument("--scale", type=float, default=0.5, help="size of the frames in terms of their own")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting of the recipe")
    parser.add_argument("--width", type=int, default=8, help="channels of the plain U-Net at the frames' own size")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, help="write the rows as JSON here")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
