"""Peak memory and time of predicting a large image in windows, and how far its mask is from the exact one.

    python benchmarks/large_images.py                                           # 8000 x 8000 pixels, 150 classes
    python benchmarks/large_images.py --run RUN --compare --size 1100 --height 900 --side 128

Memory is above that of the process with the model. Without --run the model is a small UNet and VAE of Stable
Diffusion's classes with random weights: what windows keep depends on their logits alone. The exact mask is the argmax
of the same windows' logits, averaged at the pixels' resolution. The image is a mosaic of Scenes.
"""

import argparse
import json
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch.nn import functional as F

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_heads import PerceptionConfig, PerceptionModel
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.segmentation import FPNHead
from tadp_heads.tiling.predict import Tiling, tiled_mask, window_logits, write_tiled_mask
from tadp_heads.tiling.windows import feather, rows_of_windows

WIDTH = 32
"""Of the narrow model's contexts."""


def narrow_model(classes: int, variant: str) -> PerceptionModel:
    """Strides 8 and 16; all images are conditioned on one context."""
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(8, 16),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        norm_num_groups=4,
        cross_attention_dim=WIDTH,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    )
    backbone = DiffusionBackbone(unet=unet, vae=vae, config=BackboneConfig(map_strides=(16,)))
    head = FPNHead(backbone.levels, classes, variant=variant, width=64)
    config = PerceptionConfig(task="segmentation", classes=tuple(f"class {n}" for n in range(classes)), prompt="")
    return PerceptionModel(backbone, head, config, context=torch.zeros(1, 77, WIDTH))


def mosaic(width: int, height: int) -> Image.Image:
    """Scenes side by side."""
    with tempfile.TemporaryDirectory() as folder:
        write_scenes(Path(folder), task="segmentation", domain="photo", split="train", count=12, seed=0)
        files = open_folder(Path(folder), "segmentation").image_files.values()
        tiles = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    row = np.concatenate(tiles, 1)
    rows = np.concatenate([np.roll(row, 128 * shift, 1) for shift in range(4)])
    repeats = (-(-height // rows.shape[0]), -(-width // rows.shape[1]), 1)
    return Image.fromarray(np.tile(rows, repeats)[:height, :width])


def exact_mask(model: PerceptionModel, image: Image.Image, context: torch.Tensor, tiling: Tiling) -> torch.Tensor:
    """(H, W) ids of logits that are averaged over pixels; memory grows with the image."""
    logits_of = window_logits(model, np.asarray(image), lambda crops: context.expand(len(crops), -1, -1))
    total = torch.zeros(len(model.config.classes), image.height, image.width)
    weights = torch.zeros(image.height, image.width)
    for row in rows_of_windows(image.height, image.width, tiling.side, tiling.overlap):
        for window in row:
            height, width = window.bottom - window.top, window.right - window.left
            logits = logits_of([window]).float()
            stride = -(-width // model.size_multiple) * model.size_multiple / logits.shape[-1]
            wide = F.interpolate(logits, scale_factor=stride, mode="bilinear")[0, :, :height, :width]
            weight = feather(height, width, tiling.overlap)
            place = (slice(window.top, window.bottom), slice(window.left, window.right))
            total[:, place[0], place[1]] += wide * weight
            weights[place] += weight
    return (total / weights).argmax(0)


def resident_gib() -> float:
    """Of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**30


def measured(model: PerceptionModel, image: Image.Image, context: torch.Tensor, tiling: Tiling) -> dict:
    """Memory in GiB above the model's, at quarters of the windows and at its peak."""
    before, start, quarters = resident_gib(), time.process_time(), {}

    def progress(done: int, total: int) -> None:
        quarters[4 * done // total] = round(resident_gib() - before, 2)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "image"
        write_tiled_mask(
            model,
            image,
            lambda crops: context.expand(len(crops), -1, -1),
            tiling,
            place,
            progress=progress,
        )
        written = sum(file.stat().st_size for file in Path(folder).iterdir())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {
        "peak_gib": round(peak - before, 2),
        "after_quarters_gib": [quarters[n] for n in range(5) if n in quarters],
        "cpu_seconds": round(time.process_time() - start),
        "written_mib": round(written / 2**20, 1),
    }


def compared(found: torch.Tensor, exact: torch.Tensor) -> dict:
    """Mean IoU over the classes of the exact mask, and the share of equal pixels."""
    pairs = [(found == k, exact == k) for k in exact.unique().tolist()]
    iou = sum(float((one & other).sum() / (one | other).sum()) for one, other in pairs) / len(pairs)
    return {"mean_iou_with_exact": round(iou, 4), "equal_pixels": round(float((found == exact).float().mean()), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="folder that `tadp train` made; empty: random weights")
    parser.add_argument("--size", type=int, default=8000, help="width in pixels")
    parser.add_argument("--height", type=int, default=0, help="in pixels; 0: the width")
    parser.add_argument("--classes", type=int, default=150, help="without --run")
    parser.add_argument("--variant", default="ade", help="of the head, without --run: ade, or pascal (stride 1)")
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=0, help="0: a quarter of the side")
    parser.add_argument("--compare", action="store_true", help="with the exact mask; of small images")
    options = parser.parse_args()
    torch.manual_seed(0)
    if options.run:
        from tadp_cli.pipelines.loading import loaded_model
        from tadp_cli.precision import AUTO

        model = loaded_model(options.run, AUTO, "cpu")
    else:
        model = narrow_model(options.classes, options.variant)
    with torch.no_grad():
        context = model.encode_captions(["a photo"])
    tiling = Tiling(side=options.side, overlap=options.overlap or options.side // 4, mask="tiff")
    tiling.check(model)
    image = mosaic(options.size, options.height or options.size)
    result = {"size": image.size, "classes": len(model.config.classes), "tile": options.side}
    if options.compare:
        found = tiled_mask(model, image, lambda crops: context.expand(len(crops), -1, -1), tiling)
        result |= compared(found.ids, exact_mask(model, image, context, tiling))
    else:
        result |= measured(model, image, context, tiling)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
