"""What the prompts of each row of `tadp reproduce presence` say of the classes, and what a prediction costs.

    python benchmarks/presence_quality.py TABLE [--images 200] [--timed 32]

TABLE is the folder that `tadp reproduce presence --out TABLE` filled. For each row: precision and recall of the classes
that its prompts name (or that the tagger holds likely), over all images and classes, a mean over seeds; and the
milliseconds an image from pixels to prediction on one thread, captioning and judging counted in.
"""

import argparse
import time
from pathlib import Path

import torch
from torchvision.transforms.v2.functional import to_pil_image

from tadp_captioning import load_captioner
from tadp_captioning.mentions.words import ClassMentions
from tadp_captioning.prompts.oracle import PrecisionRecall, precision_recall
from tadp_cli.pipelines.evaluate import OpenedRun, open_run
from tadp_cli.prediction.model import takes_captions
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes


def quality(opened: OpenedRun) -> PrecisionRecall:
    """Of the classes that prompts name, or that the tagger finds where prompts have no words."""
    dataset, prompts = opened.dataset, opened.prompts
    found = getattr(prompts, "found", None)
    mentions = ClassMentions(object_names(dataset.classes))
    named = {i: mentions(prompts.texts.get(i, "")) if found is None else found.named(i) for i in dataset.ids}
    return precision_recall(named, present_classes(dataset))


def milliseconds(run: Path, opened: OpenedRun, count: int) -> float:
    """An image, from pixels to prediction; the oracle's text costs nothing."""
    recipe, model, dataset, prompts = opened
    tagger = tagger_of(run, recipe, model, "cpu")
    captioner = load_captioner(recipe.captioner, device="cpu") if takes_captions(model, recipe) else None
    ids = dataset.ids[:count]
    images = [to_pil_image(torch.as_tensor(dataset.read(image_id).image)) for image_id in ids]
    if recipe.prompt.kind == "oracle":
        captioner = None

    def predict() -> None:
        texts = captioner.caption(images) if captioner else [prompts.texts.get(image_id, "") for image_id in ids]
        texts, context = prompted(recipe, model, tagger, images, texts)
        model.predict_batch(images, texts, len(images), context)

    predict()  # warms up
    start = time.perf_counter()
    predict()
    return 1000 * (time.perf_counter() - start) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", type=Path)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--timed", type=int, default=32)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| row | class precision | class recall | ms per image |\n|---|---:|---:|---:|")
    for row in sorted(path for path in (options.table / "runs").iterdir() if path.is_dir()):
        runs = sorted(path for path in row.iterdir() if (path / "results.json").is_file())
        if not runs:
            continue
        all_opened = [open_run(run, most=options.images) for run in runs]
        found = [quality(opened) for opened in all_opened]
        precision = sum(f.precision for f in found) / len(found)
        recall = sum(f.recall for f in found) / len(found)
        spent = milliseconds(runs[0], all_opened[0], options.timed)
        print(f"| {row.name} | {precision:.2f} | {recall:.2f} | {spent:.0f} |", flush=True)


if __name__ == "__main__":
    main()
