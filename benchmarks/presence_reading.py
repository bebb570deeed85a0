"""How well classes are read off an image, by whom and from how many labelled images (docs/presence.md).

    python benchmarks/presence_reading.py [--labels 500 2000] [--out FOLDER]

Scenes, the tiny models, 200 unseen photos. For each tagger: precision and recall there at its threshold, which was
chosen out of fold on the labelled images for a precision of 0.5, and the best F1 that any threshold would give.
"""

import argparse
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from tadp_backbone import DiffusionBackbone
from tadp_captioning import CaptionStore, caption_images, load_captioner
from tadp_captioning.mentions.words import ClassMentions
from tadp_cli.config.recipe import load_recipe
from tadp_cli.inputs.scenes_data import SEEDS, SOURCE
from tadp_cli.prompts.tagging.fit import fit_tagger
from tadp_heads.data import SampleDataset
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes

UNSEEN = 200
TAGGERS = {
    "head on a first pass without words": {"presence.first_pass": "empty"},
    "head on a first pass under the caption": {},
    "captioner's word probabilities": {"presence.source": "captioner"},
}
ASKED = 0.5
"""A precision that all of them reach."""


def labels_of(dataset: SampleDataset) -> Tensor:
    """(N, K) of 0 and 1."""
    names, present = object_names(dataset.classes), present_classes(dataset)
    return torch.tensor([[float(name in present[i]) for name in names] for i in dataset.ids])


def counted(named: Tensor, truth: Tensor) -> tuple[float, float]:
    """Precision and recall over all images and classes."""
    right = (named * truth).sum()
    return float(right / named.sum().clamp(min=1)), float(right / truth.sum())


def best_f1(probabilities: Tensor, truth: Tensor) -> float:
    scores, order = probabilities.flatten().sort(descending=True)
    right = truth.flatten()[order].cumsum(0)
    return float((2 * right / (torch.arange(1, len(scores) + 1) + truth.sum())).max())


def captioned(dataset: SampleDataset, file: Path) -> CaptionStore:
    store = CaptionStore.open(file)
    caption_images(load_captioner("tiny", device="cpu"), dataset.image_files, store)
    return store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", nargs="+", type=int, default=[500, 2000])
    parser.add_argument("--out", type=Path, help="where data and captions are kept; none: nowhere")
    options = parser.parse_args()
    torch.set_num_threads(1)
    backbone = DiffusionBackbone.from_pretrained("tiny").freeze()
    with tempfile.TemporaryDirectory() as scratch:
        out = options.out or Path(scratch)
        print("| tagger | labelled images | precision | recall | best F1 |\n|---|---:|---:|---:|---:|")
        for labelled in options.labels:
            folder = out / str(labelled)
            for split, count in (("train", labelled), ("val", UNSEEN)):
                write_scenes(folder, task="segmentation", domain=SOURCE, split=split, count=count, seed=SEEDS[split])
            train, unseen = (open_data(str(folder), "segmentation", split) for split in ("train", "val"))
            stores = [captioned(dataset, folder / "captions.jsonl") for dataset in (train, unseen)]
            truth = labels_of(unseen)
            mentions = ClassMentions(object_names(unseen.classes))
            said = torch.tensor([[float(n in mentions(stores[1][i])) for n in mentions.classes] for i in unseen.ids])
            precision, recall = counted(said, truth)
            print(f"| the caption itself | {labelled} | {precision:.2f} | {recall:.2f} | {best_f1(said, truth):.2f} |")
            for index, (title, settings) in enumerate(TAGGERS.items()):
                recipe = load_recipe("scenes-segmentation").replace(
                    **{"data.folder": str(folder), "prompt.kind": "presence", "presence.precision": ASKED}, **settings
                )
                kept = folder / f"tagger-{index}"
                fitted = fit_tagger(recipe, train, backbone, stores[0], kept, "cpu", lambda *_: None)
                found = fitted.find(unseen, stores[1], lambda *_: None)
                values = found.of(unseen.ids)
                precision, recall = counted((values >= found.threshold).float(), truth)
                cells = f"{precision:.2f} | {recall:.2f} | {best_f1(values, truth):.2f}"
                print(f"| {title} | {labelled} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
