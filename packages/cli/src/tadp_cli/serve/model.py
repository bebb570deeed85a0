"""Runs in the process that holds the model: encoded images in, encoded results out."""

import io
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from tadp_cli.serve.jobs import Answer, Job, ModelInfo, refusal

_model: Any = None


def load(run: Path, device: str, plugins: Sequence[Path]) -> ModelInfo:
    """Load the run's model and predict one empty image: what cannot be predicted is an error now, not later."""
    global _model
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which lets this process finish its batch
    import torch
    from PIL import Image

    from tadp_cli.pipelines.loading import loaded_model
    from tadp_cli.plugins import load_plugins
    from tadp_cli.precision import AUTO
    from tadp_cli.serve.results import RESULTS

    load_plugins(plugins)
    device = ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    _model = loaded_model(run, AUTO, device)
    result = _model.predict(Image.new("RGB", (64, 64)), caption="a photo")
    config = _model.config
    return ModelInfo(
        run=run.resolve().name,
        task=config.task,
        classes=config.classes,
        palette=config.palette,
        takes_caption=not _model.has_fixed_prompt,
        outputs=(*RESULTS.get(type(result).__name__, {}), "overlay"),
        device=device,
    )


def predict(jobs: Sequence[Job]) -> list[Answer]:
    """One answer per job, in order; what is wrong with one job does not touch the others."""
    if _model is None:  # this process took the place of one that ended, and could not load the model
        line = "the model could not be loaded again: see the server's log, and restart it"
        return [refusal(503, line) for _ in jobs]
    decoded = [_decoded(job.image) for job in jobs]
    whole = [(job, image) for job, (image, wrong) in zip(jobs, decoded, strict=True) if wrong is None]
    answers = iter(_answers([job for job, _ in whole], [image for _, image in whole]))
    return [next(answers) if wrong is None else wrong for _, wrong in decoded]


def _decoded(data: bytes) -> tuple[Any, Answer | None]:
    from PIL import Image

    from tadp_heads.data.image_io import upright

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
            return upright(image).convert("RGB"), None
    except MemoryError:
        return None, refusal(413, "not enough memory to decode the image: send a smaller one")
    except Exception as error:  # decoders of damaged files raise nearly anything
        return None, refusal(400, f"no complete image ({error}): send a PNG, JPEG or WebP file, all of it")


def _answers(jobs: Sequence[Job], images: Sequence[Any]) -> list[Answer]:
    if not jobs:
        return []
    try:
        results = _model.predict_batch(images, [job.caption for job in jobs], len(jobs))
        return [_encoded(result, job.output) for result, job in zip(results, jobs, strict=True)]
    except Exception as error:
        if len(jobs) > 1:  # one of them may be at fault
            return [answer for job, image in zip(jobs, images, strict=True) for answer in _answers([job], [image])]
        return [_failure(error, images[0].size)]


def _encoded(result: Any, output: str) -> Answer:
    from tadp_cli.serve.results import RESULTS, png

    encode: Callable[[Any], Answer] | None = RESULTS.get(type(result).__name__, {}).get(output)
    return png(result.overlay()) if encode is None else encode(result)


def _failure(error: Exception, size: tuple[int, int]) -> Answer:
    from tadp_cli.console.errors import is_out_of_memory

    if is_out_of_memory(error):
        return refusal(413, f"not enough memory for {size[0]}x{size[1]} pixels: send a smaller image")
    line = " ".join(str(error).split())[:500]
    return refusal(400 if isinstance(error, ValueError) else 500, line or type(error).__name__)
