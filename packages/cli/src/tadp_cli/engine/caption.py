"""`tadp caption --engine ray`."""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from tadp_captioning import CaptionStore, LoopReport, Progress, load_captioner
from tadp_captioning.parallel.caption_parts import PartCaptioner, add_part, image_jobs
from tadp_cli.config.default_models import naming_tiny
from tadp_cli.engine.options import BATCHES_PER_PART, Engine
from tadp_cli.engine.pool import pooled
from tadp_cli.plugins import load_plugins, plugin_files

_BATCH = 16
"""Images of a batch, where the user names no number."""


def caption_with_actors(
    captioner: str,
    asked: dict[str, Any],
    images: Mapping[str, Any],
    store: CaptionStore,
    engine: Engine,
    *,
    redo: Collection[str],
    progress: Callable[[Progress], None],
) -> LoopReport:
    """As `caption_images`, with a captioner in each actor; `asked`: the options of `load_captioner`."""
    size = BATCHES_PER_PART * (asked["batch_size"] or _BATCH)
    jobs = list(image_jobs(images, store, redo))
    parts = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    captioned, done, failed = 0, 0, dict[str, str]()
    make = partial(_worker, plugin_files(), captioner, asked)
    for count, records in pooled(make, parts, engine, device=asked["device"]):
        new = add_part(store, images, records, redo)
        failed |= {record.id: record.error for record in new if record.error is not None}
        captioned += sum(record.error is None for record in new)
        done += count
        progress(Progress(done, len(failed), len(images)))
    return LoopReport(captioned, len(images) - captioned - len(failed), failed)


def _worker(plugins: Sequence[Path], captioner: str, asked: dict[str, Any]) -> Callable[[Any], Any]:
    """In an actor: from jobs to their number and the new records."""
    load_plugins(plugins)
    with naming_tiny(captioner, "--captioner tiny"):
        work = PartCaptioner(load_captioner(captioner, **asked))
    return lambda jobs: (len(jobs), work(jobs))
