"""Peak memory and time of predicting a large image in windows, and how far its mask is from the exact one.

The exact mask averages the windows' logits at the pixels' resolution; windows here have random smooth logits, so that
no model's memory is in the numbers. Example: `python benchmarks/large_images.py --classes 150 --size 8000`
"""

import argparse
import resource
import time

import torch
from torch.nn import functional as F

from tadp_heads.tiling.segmentation import segment_rows
from tadp_heads.tiling.windows import Window, feather, rows_of_windows

STRIDE = 4


def logits_of(classes: int):
    """Windows -> smooth logits (B, K, h, w) that differ from window to window, as a model's do."""

    def one(window: Window) -> torch.Tensor:
        generator = torch.Generator().manual_seed(window.top * 100_003 + window.left)
        coarse = torch.randn(1, classes, 9, 9, generator=generator)
        size = ((window.bottom - window.top) // STRIDE, (window.right - window.left) // STRIDE)
        return F.interpolate(coarse, size=size, mode="bilinear")[0]

    return lambda windows: torch.stack([one(window) for window in windows])


def exact(classes: int, height: int, width: int, side: int, overlap: int) -> torch.Tensor:
    """(H, W) ids of logits that are averaged over pixels; memory grows with the image."""
    total, weights = torch.zeros(classes, height, width), torch.zeros(height, width)
    weight = feather(side, side, overlap)
    model = logits_of(classes)
    for row in rows_of_windows(height, width, side, overlap):
        for window in row:
            logits = F.interpolate(model([window]), scale_factor=float(STRIDE), mode="bilinear")[0]
            place = (slice(window.top, window.bottom), slice(window.left, window.right))
            total[:, place[0], place[1]] += logits * weight
            weights[place] += weight
    return (total / weights).argmax(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=8000, help="width in pixels")
    parser.add_argument("--height", type=int, default=0, help="in pixels; 0: the width")
    parser.add_argument("--classes", type=int, default=150)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--overlap", type=int, default=128)
    parser.add_argument("--compare", action="store_true", help="with the exact mask; of small images")
    options = parser.parse_args()
    height = options.height or options.size
    before, start, rows, ids = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time(), 0, []
    found = segment_rows(
        logits_of(options.classes), (height, options.size), side=options.side, overlap=options.overlap, stride=STRIDE
    )
    for part, _ in found:
        rows += len(part)
        ids += [part] if options.compare else []
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    seconds = time.process_time() - start
    memory = f"{(peak - before) / 2**20:.2f} GiB"
    print(f"{options.size}x{rows}, {options.classes} classes: {memory}, {seconds:.0f} CPU seconds")
    if options.compare:
        found, right = torch.cat(ids), exact(options.classes, height, options.size, options.side, options.overlap)
        pairs = [(found == k, right == k) for k in right.unique().tolist()]
        iou = sum(float((one & other).sum() / (one | other).sum()) for one, other in pairs) / len(pairs)
        print(f"mean IoU with the exact mask {iou:.4f}, equal pixels {(found == right).float().mean():.4f}")


if __name__ == "__main__":
    main()
