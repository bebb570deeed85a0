"""What class names and a choice of images are worth when the budget for labels is small.

    python benchmarks/labelling.py budget --domains photo watercolor dusk --out runs/budget
    python benchmarks/labelling.py next --out runs/next

budget: a run on `--start` masks is continued in two ways at the same cost. masks: so many more masks. names: the
classes of 40 times as many images (annotation cost ratio mask : name = 40 : 1), whose masks the run predicts under
their names, and a run on all of them. next: `tadp label-next` adds `--step` images a round by text, entropy and random,
and trains anew. Scenes, the tiny models; mIoU on `val`, prompted with the names of the classes present; one line of
JSON a run, appended to OUT/results.jsonl.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

from tadp_cli.labelling.next_images import MEASURES
from tadp_heads.data.present_classes import annotated_names
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes

COST_RATIO = 40
"""Names of so many images cost what one mask costs."""


def tadp(*words: object) -> None:
    subprocess.run([sys.executable, "-m", "tadp_cli", *map(str, words)], check=True, stdout=subprocess.DEVNULL)


def pool(root: Path, domain: str, count: int, val: int, seed: int) -> Path:
    """Images with masks, of which a run sees those that a split file lists."""
    for split, number, first in (("train", count, 0), ("val", val, count)):
        write_scenes(root, task="segmentation", look=domain, split=split, count=number, seed=seed, first=first)
    return root


def trained(data: Path, ids: list[str], out: Path, steps: int, seed: int) -> float:
    """A run on these images; mIoU on val, in percent."""
    (data / "labelled.txt").write_text("".join(f"{one}\n" for one in ids))
    settings = ["data.train=labelled", "prompt.kind=oracle", f"train.steps={steps}", f"train.seed={seed}"]
    options = [word for setting in settings for word in ("--set", setting)]
    tadp("train", "scenes-segmentation", "--data", data, "--out", out, *options)
    evaluations = json.loads((out / "results.json").read_text())["evaluations"]
    return 100 * evaluations[-1]["metrics"]["mIoU"]


def with_pseudo_masks(data: Path, run: Path, labelled: list[str], named: list[str], out: Path) -> Path:
    """A copy of the data in which the images `named` have the masks that the run predicts under their names."""
    shutil.copytree(data, out)
    dataset = open_folder(data, "segmentation")
    present = annotated_names(dataset, named)
    rows = [f"{one}.png,{';'.join(present[one])}" for one in named]
    (out / "names.csv").write_text("\n".join(rows) + "\n")
    files = [str(dataset.image_files[one]) for one in named]
    (out / "named_images.txt").write_text("\n".join(files) + "\n")
    predictions = out / "predictions"
    tadp("predict", run, out / "named_images.txt", "--names", out / "names.csv", "--out", predictions)
    for one in named:
        shutil.copy(predictions / f"{one}_mask.png", out / "masks" / f"{one}.png")
    return out


def budget(options: argparse.Namespace, record) -> None:
    for domain in options.domains:
        for seed in options.seeds:
            work = options.out / f"{domain}-{seed}"
            data = pool(work / "data", domain, options.pool, options.val, seed)
            ids = list(open_folder(data, "segmentation", "train").ids)
            start = ids[: options.start]
            first = trained(data, start, work / "start", options.steps, seed)
            record(domain=domain, seed=seed, arm="start", masks=len(start), names=0, miou=first)
            for extra in options.extra:
                more = ids[: options.start + extra]
                miou = trained(data, more, work / f"masks-{extra}", options.steps, seed)
                record(domain=domain, seed=seed, arm="masks", masks=len(more), names=0, miou=miou)
                named = ids[options.start : options.start + extra * COST_RATIO]
                copy = with_pseudo_masks(data, work / "start", start, named, work / f"named-{extra}")
                miou = trained(copy, [*start, *named], work / f"names-{extra}", options.steps, seed)
                record(domain=domain, seed=seed, arm="names", masks=len(start), names=len(named), miou=miou)


def choose_next(options: argparse.Namespace, record) -> None:
    for seed in options.seeds:
        data = pool(options.out / f"pool-{seed}", options.domains[0], options.pool, options.val, seed)
        files = open_folder(data, "segmentation", "train").image_files
        for by in MEASURES:
            labelled = list(files)[: options.start]
            for number in range(options.rounds + 1):
                run = options.out / f"{by}-{seed}-{number}"
                record(seed=seed, by=by, images=len(labelled), miou=trained(data, labelled, run, options.steps, seed))
                lists = {"pool": [one for one in files if one not in labelled], "labelled": labelled}
                for name, ids in lists.items():
                    (run / f"{name}.txt").write_text("".join(f"{files[one].resolve()}\n" for one in ids))
                known = ("--labelled", run / "labelled.txt", "--budget", options.step, "--seed", seed)
                tadp("label-next", run, run / "pool.txt", "--by", by, *known, "--out", run / "next.txt")
                labelled += [Path(line).stem for line in (run / "next.txt").read_text().splitlines()]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=("budget", "next"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--domains", nargs="+", default=["photo"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--pool", type=int, default=1000, help="images of a domain")
    parser.add_argument("--val", type=int, default=200)
    parser.add_argument("--start", type=int, default=20, help="masks to begin with")
    parser.add_argument("--extra", nargs="+", type=int, default=[5, 10, 20], help="masks that are added")
    parser.add_argument("--step", type=int, default=10, help="images that are chosen a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=400, help="of training")
    options = parser.parse_args(arguments)
    options.out.mkdir(parents=True, exist_ok=True)

    def record(**row: object) -> None:
        print(row, flush=True)
        with (options.out / "results.jsonl").open("a") as file:
            file.write(json.dumps(row) + "\n")

    (budget if options.experiment == "budget" else choose_next)(options, record)


if __name__ == "__main__":
    main()
