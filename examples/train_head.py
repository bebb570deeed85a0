"""Train a segmentation head, and the UNet with it, from Python: images, captions, training, evaluation, prediction.

tadp data scenes --out photos          # or a folder of your own: images/, masks/, classes.txt, train.txt, val.txt
tadp caption photos/images --out photos/captions.jsonl
python train_head.py photos photos/captions.jsonl runs/mine
"""

import sys
from pathlib import Path

from tadp_backbone import DiffusionBackbone
from tadp_captioning import CaptionStore
from tadp_heads import PerceptionConfig, PerceptionModel, get_task
from tadp_heads.data.registry import open_data
from tadp_heads.tasks import train_transform
from tadp_heads.training import ModelContexts, TrainConfig, evaluate, fit


def main(folder: str, captions: str, out: str, steps: int = 300) -> None:
    """Train on the split "train", keep the model that is best on "val", and draw its prediction for an image."""
    train = open_data(folder, "segmentation", "train", train_transform("segmentation", "user", 64))
    val = open_data(folder, "segmentation", "val")
    texts = {record.id: record.caption for record in CaptionStore.read(captions).records()}

    backbone = DiffusionBackbone.from_pretrained("tiny")  # or "sd15", with device="cuda"
    head = get_task("segmentation").build_head(backbone.levels, train.classes, width=64)
    config = PerceptionConfig(task="segmentation", classes=train.classes, prompt="{caption}")
    model = PerceptionModel(backbone, head, config)
    contexts = ModelContexts(model, texts)
    best = 0.0

    def keep_if_best(step: int, metrics: dict[str, float]) -> None:
        nonlocal best
        print(f"step {step}: mIoU {metrics['mIoU']:.3f}")
        if metrics["mIoU"] >= best:
            best = metrics["mIoU"]
            model.save_pretrained(Path(out) / "best")

    settings = TrainConfig(steps=steps, batch_size=8, lr=5e-3, unet_lr_scale=0.1, eval_every=max(1, steps // 3))
    fit(
        model,
        train,
        contexts,
        settings,
        out,
        evaluate=lambda: evaluate(model, val, contexts),
        on_evaluate=keep_if_best,
        on_step=lambda step, line: step % 50 or print(f"step {step}: loss {line['loss']:.3f}"),
    )
    keep_if_best(steps, evaluate(model, val, contexts))

    model = PerceptionModel.from_pretrained(Path(out) / "best")
    image_id, result = next(model.predict_folder(Path(folder) / "images", texts))
    result.overlay().save(Path(out) / "prediction.png")
    print(f"{out}/best is the model, {out}/prediction.png what it finds in {image_id}")


if __name__ == "__main__":
    main(*sys.argv[1:4], *map(int, sys.argv[4:]))
