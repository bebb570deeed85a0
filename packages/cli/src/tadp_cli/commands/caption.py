"""`tadp caption`: images in, captions out."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.options import DeviceOption
from tadp_cli.progress import bars, console


def caption(
    data: Annotated[Path, typer.Argument(help="a folder of images, at any depth, or one image")],
    out: Annotated[Path, typer.Option(help="JSON Lines to write; what is there already is not done again")],
    captioner: Annotated[str, typer.Option(help="tiny, blip2, or a folder of such a model")] = "blip2",
    min_tokens: Annotated[int, typer.Option(help="fewest new tokens; the paper tries 0, 20 and 40")] = 0,
    max_tokens: Annotated[int, typer.Option(help="most new tokens")] = 77,
    device: DeviceOption = "cpu",
) -> None:
    """Caption images; a run that was stopped goes on where it was.

    Example: `tadp caption photos/ --captioner blip2 --min-tokens 40 --out captions.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, caption_images, find_images, load_captioner

        images = find_images(data)
        writer = load_captioner(captioner, device=device, min_new_tokens=min_tokens, max_new_tokens=max_tokens)
        store = CaptionStore.open(out)
        with bars() as report:
            done = caption_images(writer, images, store, progress=lambda p: report("caption", p.done, p.total))
        console.print(
            f"{done.captioned} captioned, {done.skipped} were there already, {len(done.failed)} failed: {out}"
        )
        for image_id, reason in done.failed.items():
            console.print(f"failed: {image_id}: {reason}", markup=False)
        if done.failed:
            raise RuntimeError(
                f"{len(done.failed)} of {len(images)} images could not be captioned; mend or remove them"
            )
