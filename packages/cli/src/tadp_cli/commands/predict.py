"""`tadp predict`: a run and your own images in, overlays and raw results out."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.cleaning_options import (
    BaseUrlOption,
    CleanerOption,
    MaxRequestsOption,
    MaxUsdOption,
    PriceOption,
    cleaning_limits,
)
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.launchers import process_share
from tadp_cli.console.options import (
    ActorsOption,
    CompileOption,
    DeviceOption,
    EngineOption,
    OutFolder,
    PluginOption,
    PrecisionOption,
)
from tadp_cli.console.progress import bars, console, notes
from tadp_cli.console.tiny_warning import warn_of_recipe


def predict(
    run: Annotated[Path, typer.Argument(help="folder of a run that `tadp train` made, or OWNER/NAME of the hub")],
    images: Annotated[
        list[str],
        typer.Argument(metavar="IMAGE...", help="images, folders, .txt lists, globs, .tar, .parquet, and videos"),
    ],
    out: OutFolder,
    caption: Annotated[
        str | None, typer.Option(help="text for all images; default: captions by the run's captioner")
    ] = None,
    captioner: Annotated[str, typer.Option(help="captioner to use instead of the run's")] = "",
    captions: Annotated[
        Path | None, typer.Option(help="file of captions, one per image, as `tadp caption` writes them")
    ] = None,
    names: Annotated[
        Path | None,
        typer.Option(help="class names of each image: .csv, .jsonl, an annotation tool's tags, or folders per class"),
    ] = None,
    protocol: Annotated[str, typer.Option(help="how to predict, e.g. slide for long images; empty: the run's")] = "",
    size: Annotated[
        int | None, typer.Option(help="longest side in pixels at which to predict, e.g. 1024; empty: the image's own")
    ] = None,
    batch_size: Annotated[int, typer.Option(help="batch size")] = 8,
    format: Annotated[
        str, typer.Option(help="png, or objects for an annotation tool: labelme, coco, yolo, voc, label-studio")
    ] = "png",
    tolerance: Annotated[float, typer.Option(help="pixels by which polygons may differ from the mask")] = 0.35,
    min_score: Annotated[float, typer.Option(help="leave out objects with a lower score, 0 to 1")] = 0.0,
    confidence: Annotated[
        bool, typer.Option("--confidence", help="write the probability of each pixel's class, as 8-bit PNG")
    ] = False,
    tile: Annotated[
        int, typer.Option(help="side in pixels of overlapping windows for large images, e.g. 512; 0: the whole image")
    ] = 0,
    overlap: Annotated[
        int | None, typer.Option(help="overlap of the windows in pixels; empty: a quarter of --tile")
    ] = None,
    tile_captions: Annotated[
        bool, typer.Option("--tile-captions", help="caption each window; else one caption for the image")
    ] = False,
    mask_file: Annotated[str, typer.Option(help="with --tile: file format of masks, png or tiled tiff")] = "png",
    caption_per: Annotated[str, typer.Option(help="video: one caption per shot, or per frame")] = "shot",
    shot_threshold: Annotated[
        float, typer.Option(help="video: colour difference of two frames that starts a shot, 0 to 1")
    ] = 0.5,
    cleaner: CleanerOption = "",
    base_url: BaseUrlOption = None,
    price: PriceOption = None,
    max_usd: MaxUsdOption = 1.0,
    max_requests: MaxRequestsOption = None,
    precision: PrecisionOption = "auto",
    compile: CompileOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    actors: ActorsOption = 0,
    plugin: PluginOption = None,
) -> None:
    """Predict images of any size: an overlay, the raw result and the caption of each; resumes where stopped.

    Prompts are built from captions as in training. Masks are PNG with a palette, depth is 16-bit PNG in
    millimetres and .npy in metres, boxes are COCO's JSON; all are in the image's own frame, with --size too. --format
    writes polygons or boxes for an annotation tool instead. A video gives OUT/NAME/ with each frame's files,
    overlay.mp4 and frames.csv, which has the mIoU of consecutive masks. Under `accelerate launch` processes share the
    images, with `--engine ray` actors of this machine or a cluster.

    Example: `tadp predict runs/first photos/ 'more/*.jpg' --out predictions`
    """
    with one_line_errors():
        from tadp_cli.config.default_models import TINY
        from tadp_cli.engine.options import Engine
        from tadp_cli.inputs.user_images import find_predictable
        from tadp_cli.pipelines.predict import predict_images
        from tadp_cli.precision import Speed
        from tadp_cli.prediction.options import PredictOptions
        from tadp_cli.run.finished import run_of
        from tadp_cli.run.run import Run
        from tadp_cli.video.predict import predict_video
        from tadp_heads.video.files import is_video
        from tadp_heads.video.predict import VideoOptions

        share, pool = process_share(), Engine(name=engine, actors=actors)
        pool.check(share.world_size, device)
        device = share.device_for(device)
        run = run_of(run)
        videos, images = [one for one in images if is_video(one)], [one for one in images if not is_video(one)]
        if images and (recipe := Run(run).finished_recipe()).backbone.source == TINY:
            files = find_predictable(images, leave_out=out).values()
            warn_of_recipe(recipe, *files, instead=f"predict with a run of the recipe {recipe.task}")
        if videos and (pool.on_ray or share.world_size > 1):
            raise ValueError(f"{videos[0]} is a video: one process predicts it, without --engine ray")
        options = PredictOptions(
            caption=caption,
            captioner=captioner,
            captions=captions,
            names=names,
            cleaner=cleaner,
            limits=cleaning_limits(base_url, price, max_usd, max_requests),
            protocol=protocol,
            size=size,
            batch_size=batch_size,
            speed=Speed(precision=precision, compile=compile),
            format=format,
            tolerance=tolerance,
            min_score=min_score,
            confidence=confidence,
            tile=tile,
            overlap=overlap,
            tile_captions=tile_captions,
            mask_file=mask_file,
        )
        frames = VideoOptions(
            caption_per=caption_per, shot_threshold=shot_threshold, batch_size=batch_size, confidence=confidence
        )
        for video in map(Path, videos):
            with bars() as report, notes():
                found = predict_video(run, video, out, options, frames, device=device, report=report)
            said = f"{found['frames']} frames, {found['shots']} shots, captioned per {found['caption_per']}"
            if (consistency := found["consistency_miou"]) is not None:
                said += f", mIoU of consecutive masks {consistency:.3f}"
            console.print(f"{said}: {out / video.stem}", markup=False, highlight=False, soft_wrap=True)
        if not images:
            return
        with bars() as report, notes():
            done = predict_images(run, images, out, options, device=device, report=report, share=share, engine=pool)
        if share.rank > 0:
            return  # the first process speaks for all
        counts = f"{len(done.written)} predicted, {len(done.failed)} failed"
        if done.there:
            counts += f", {len(done.there)} were there already"
        if done.written:
            counts += f" ({len(done.written) / done.seconds:.2g} images/s)"
        console.print(f"{counts}: {out}", markup=False, highlight=False, soft_wrap=True)
        if len(done.failed) == 1:
            raise RuntimeError(next(iter(done.failed.values())))
        for reason in done.failed.values():
            console.print(f"failed: {reason}", markup=False, highlight=False, soft_wrap=True)
        if done.failed:
            raise RuntimeError(f"{len(done.failed)} images could not be predicted; fix or remove them")
