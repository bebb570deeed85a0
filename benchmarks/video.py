"""Memory over a long video, and how consistent masks are with one caption per shot or per frame.

    python benchmarks/video.py memory [--frames 2000]
    python benchmarks/video.py consistency --run RUN [--frames 60]

memory: of the process, at quarters of the frames; the model is that of `large_images.py`, with random weights.
consistency: mean mIoU of consecutive masks of a run that was trained with captions. The clip is a window that moves
over a mosaic of Scenes, in two shots.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from large_images import mosaic, narrow_model, resident_gib

from tadp_heads.video.files import VideoFile
from tadp_heads.video.predict import VideoOptions, predict_video

SIDE = 64


def write_clip(path: Path, frames: int, side: int) -> None:
    """Half of the frames pan over one part of a mosaic, the others over another, which is darker."""
    image = mosaic(8 * side, 2 * side)
    with VideoFile(path, (side, side), 25) as video:
        for number in range(frames):
            second = number >= frames // 2
            left = number % (6 * side)
            part = image.crop((left, side * second, left + side, side * (second + 1)))
            video.add(part.point(lambda value: value // 3) if second else part)


def memory(options: argparse.Namespace, folder: Path) -> dict:
    """RSS in GiB above that at the start, at quarters of the frames."""
    model = narrow_model(12, "ade")
    write_clip(folder / "clip.mp4", options.frames, options.side)
    before, start, quarters = resident_gib(), time.process_time(), {}

    def progress(done: int, total: int) -> None:
        quarters[4 * done // total] = round(resident_gib() - before, 3)

    def write(result, name: str) -> None:
        result.write(folder / "out", name, "clip.mp4")
        result.overlay().save(folder / "out" / f"{name}_overlay.png")

    (folder / "out").mkdir()
    context = torch.zeros(1, 77, 32)
    summary = predict_video(
        model,
        folder / "clip.mp4",
        folder / "out",
        lambda texts: context.expand(len(texts), -1, -1),
        write,
        VideoOptions(batch_size=8),
        progress,
    )
    return {
        "frames": summary["frames"],
        "after_quarters_gib": [quarters[n] for n in range(5) if n in quarters],
        "at_the_end_gib": round(resident_gib() - before, 3),
        "cpu_seconds": round(time.process_time() - start),
    }


def consistency(options: argparse.Namespace, folder: Path) -> dict:
    """{caption per: mean mIoU of consecutive masks}."""
    from tadp_cli.console.reporter import quiet
    from tadp_cli.pipelines.predict import PredictOptions
    from tadp_cli.video.predict import predict_video as predict_with_run

    write_clip(folder / "clip.mp4", options.frames, options.side)
    found = {}
    for per in ("shot", "frame"):
        summary = predict_with_run(
            options.run,
            folder / "clip.mp4",
            folder / per,
            PredictOptions(),
            VideoOptions(caption_per=per),
            device="cpu",
            report=quiet,
        )
        found[per] = summary
    return found


PARTS = {"memory": memory, "consistency": consistency}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--side", type=int, default=SIDE, help="of the frames, in pixels")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(PARTS[options.part](options, Path(folder))))


if __name__ == "__main__":
    main()
