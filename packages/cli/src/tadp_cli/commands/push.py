"""`tadp push`: a run, a learned token, a LoRA or captions to the Hugging Face Hub."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import PluginOption
from tadp_cli.console.progress import console, notes


def push(
    what: Annotated[
        Path, typer.Argument(metavar="RUN", help="folder of a run or of what `tadp personalize` wrote, or captions")
    ],
    repository: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="created where missing")],
    private: Annotated[bool, typer.Option("--private", help="create it as a private repository")] = False,
    sample: Annotated[
        Path | None, typer.Option(help="image for the card, with its prediction; none: a scene, for runs on Scenes")
    ] = None,
    caption: Annotated[str | None, typer.Option(help="text for --sample; none: the model captions it")] = None,
    plugin: PluginOption = None,
) -> None:
    """Upload a model with its card (metrics, licences, limits) or captions as a data set; a rerun resumes.

    States, training images and their captions stay here; config.toml and results.json, which are uploaded, contain the
    paths of your data. `tadp predict OWNER/NAME ...` and `from_pretrained("OWNER/NAME")` load it.

    Example: `tadp push runs/first my-name/first --private`
    """
    with one_line_errors():
        from tadp_cli.deployment.push import push_anything

        with notes():
            where = push_anything(what, repository, private=private, sample=sample, caption=caption)
        console.print(f"uploaded: {where}", markup=False, highlight=False, soft_wrap=True)
