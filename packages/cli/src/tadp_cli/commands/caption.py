"""`tadp caption`: images in, captions out."""

import time
from pathlib import Path
from typing import Annotated, Any

import typer

from tadp_cli.console.caption_progress import caption_bar
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.launchers import process_share
from tadp_cli.console.next_step import tell_next
from tadp_cli.console.options import ActorsOption, EngineOption, PluginOption
from tadp_cli.console.progress import bars, console
from tadp_cli.console.tiny_warning import warn_of_tiny


def caption(
    data: Annotated[
        list[str] | None,
        typer.Argument(
            help="a folder, NAME:FOLDER of a data set, a .txt list, a glob, image files, .tar, .parquet, a data set "
            "OWNER/NAME of the hub; none: Scenes"
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="JSON Lines, or .parquet, to write; what is there already is not done again")
    ] = Path("captions.jsonl"),
    split: Annotated[str, typer.Option(help="split of the data set; needed for NAME:FOLDER")] = "",
    captioner: Annotated[
        str,
        typer.Option(
            help="tiny, blip2, blip2-flan-t5-xl, florence2-base, florence2-large, qwen2.5-vl-3b, qwen3-vl, "
            "smolvlm-256m, a hub id, a folder, or openai:MODEL (key: OPENAI_API_KEY); empty: tiny for Scenes, else "
            "blip2"
        ),
    ] = "",
    min_tokens: Annotated[int, typer.Option(help="minimum number of new tokens; the paper tries 0, 20 and 40")] = 0,
    max_tokens: Annotated[int, typer.Option(help="maximum number of new tokens")] = 77,
    prompt: Annotated[str | None, typer.Option(help="prompt for the model, e.g. `<OD>` for Florence-2")] = None,
    tags_first: Annotated[
        bool,
        typer.Option("--tags-first", help="ask an openai: model for the objects first, then for a caption of them"),
    ] = False,
    batch_size: Annotated[int | None, typer.Option(help="batch size; halved when memory runs out")] = None,
    workers: Annotated[int, typer.Option(help="processes that read images ahead; 0: a thread")] = 0,
    only_flagged: Annotated[Path | None, typer.Option(help="redo only these ids (captions stats --flag)")] = None,
    base_url: Annotated[str | None, typer.Option(help="server of an openai: captioner")] = None,
    device: Annotated[
        str | None, typer.Option(help="torch device, e.g. cpu or cuda:1; none: a GPU if there is one")
    ] = None,
    engine: EngineOption = "local",
    actors: ActorsOption = 0,
    plugin: PluginOption = None,
) -> None:
    """Caption images (default: Scenes); an interrupted command resumes.

    Under `accelerate launch` processes share the work, with `--engine ray` actors of this machine or a cluster.

    Example: `tadp caption photos/ --captioner blip2 --min-tokens 40 --out captions.jsonl`

    Several processes, on GPUs or on a CPU alike:
    `accelerate launch --multi_gpu --num_processes 2 --no_python tadp caption photos/ --out captions.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, caption_images, captioner_on_demand
        from tadp_cli.config.default_models import default_captioner, naming_tiny
        from tadp_cli.device import checked_device
        from tadp_cli.engine.caption import caption_with_actors
        from tadp_cli.engine.options import Engine
        from tadp_cli.inputs.named_images import named_images
        from tadp_cli.prompts.captions import flagged_images, whole_report
        from tadp_cli.run.lock import file_lock
        from tadp_cli.run.processes import joined

        if device is not None:
            checked_device(device)
        images = named_images(data or [_scenes()], split)
        captioner = captioner or default_captioner(images.values())
        warn_of_tiny(images.values(), "take --captioner blip2", captioner=captioner)
        if only_flagged is not None:
            images = flagged_images(only_flagged, images)
        if tags_first:
            prompt = _tags_first(prompt)
        share, pool = process_share(), Engine(name=engine, actors=actors)
        pool.check(share.world_size, device)
        if pool.on_ray and workers:
            raise ValueError("--workers are of --engine local: an actor reads its images itself")
        table = out if out.suffix.lower() == ".parquet" else None
        out = out if table is None else out.with_suffix(".jsonl")  # what is added to, and resumed from
        with file_lock(out, share.rank), joined(share, out.parent) as gathered:
            asked: dict[str, Any] = {
                "device": share.device_for(device),
                "min_new_tokens": min_tokens,
                "max_new_tokens": max_tokens,
                "prompt": prompt,
                "batch_size": batch_size,
                "base_url": base_url,
            }
            redo = images if only_flagged is not None else {}
            if not pool.on_ray:
                with naming_tiny(captioner, "--captioner tiny"):
                    writer = captioner_on_demand(captioner, **asked)
            store, start = CaptionStore.open(out), time.monotonic()
            with caption_bar(shown=share.rank == 0) as report:
                if pool.on_ray:
                    done = caption_with_actors(captioner, asked, images, store, pool, redo=redo, progress=report)
                else:
                    done = caption_images(
                        writer,
                        images,
                        store,
                        workers=workers,
                        redo=redo,
                        rank=share.rank,
                        world_size=share.world_size,
                        progress=report,
                    )
            reports = gathered(done)
        if share.rank > 0:
            return  # the first process speaks for all
        done = whole_report(reports)
        if table is not None:
            CaptionStore.read(out).write(table)
        speed = done.captioned / (time.monotonic() - start)
        shares = f" by {len(reports)} processes ({' + '.join(str(r.captioned) for r in reports)})"
        console.print(
            f"{done.captioned} captioned{shares if len(reports) > 1 else ''} ({speed:.1f} images/s), "
            f"{done.skipped} were there already, "
            f"{len(done.failed)} failed: {table or out}",
            markup=False,
        )
        for image_id, reason in done.failed.items():
            console.print(f"failed: {image_id}: {reason}", markup=False)
        if done.failed:
            raise RuntimeError(f"{len(done.failed)} of {len(images)} images could not be captioned; fix or remove them")
        if not data:
            tell_next("tadp caption my_images/ --out my_captions.jsonl")


def _tags_first(prompt: str | None) -> str:
    """The prompt that has the model list objects first; one of the user's own has a place for the list."""
    from tadp_captioning.captioners.openai import TAGS_FIRST, TAGS_SLOT

    if prompt is not None and TAGS_SLOT not in prompt:
        raise ValueError(f"--tags-first: --prompt {prompt!r} has no {TAGS_SLOT} for the list of objects; add it")
    return prompt or TAGS_FIRST


def _scenes() -> str:
    """Where Scenes are for whoever names no images."""
    from tadp_cli.inputs.scenes_data import SOURCE, scenes_of

    with bars() as report:
        return str(scenes_of("segmentation", SOURCE, {"train": "train", "val": "val"}, report))
