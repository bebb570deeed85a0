"""The `tadp` command: thin, and light to import, so that `tadp --help` answers at once."""

import logging
import os
import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from tadp_cli.commands.adapt import adapt
from tadp_cli.commands.analyze import analyze
from tadp_cli.commands.benchmark import benchmark
from tadp_cli.commands.caption import caption
from tadp_cli.commands.captions import captions_app
from tadp_cli.commands.convert_checkpoint import convert_checkpoint
from tadp_cli.commands.data import data_app
from tadp_cli.commands.demo import demo
from tadp_cli.commands.doctor import doctor
from tadp_cli.commands.eval import evaluate
from tadp_cli.commands.explain import explain
from tadp_cli.commands.export import export
from tadp_cli.commands.fetch import fetch
from tadp_cli.commands.label_next import label_next
from tadp_cli.commands.personalize import personalize
from tadp_cli.commands.predict import predict
from tadp_cli.commands.recipes import recipes
from tadp_cli.commands.report import report
from tadp_cli.commands.reproduce import reproduce_app
from tadp_cli.commands.serve import serve
from tadp_cli.commands.train import train
from tadp_cli.console.home import with_home
from tadp_cli.console.launchers import forget_other_launchers
from tadp_cli.console.terminal import PrintableRecord, printable_warning
from tadp_cli.console.utf8 import start_in_utf8
from tadp_cli.console.version import show_version


class _HomeGroup(TyperGroup):
    """The top level: a ~ in an argument is the home folder also where the shell left it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [with_home(argument) for argument in args])


app = typer.Typer(
    name="tadp",
    cls=_HomeGroup,
    help="Text-aligned diffusion perception: caption, personalize, train, evaluate.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
)


@app.callback()
def settle_environment(
    version: Annotated[
        bool,
        typer.Option("--version", callback=show_version, is_eager=True, help="versions of tadp, torch, CUDA, devices"),
    ] = False,
) -> None:
    forget_other_launchers()
    # The libraries' own bars and notes would drown ours; a variable that the user has set stays.
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    logging.setLogRecordFactory(PrintableRecord)
    warnings.formatwarning = printable_warning


app.command("demo")(demo)
app.command("caption")(caption)
app.add_typer(captions_app, name="captions")
app.command("personalize")(personalize)
app.command("train")(train)
app.command("adapt")(adapt)
app.command("eval")(evaluate)
app.command("predict")(predict)
app.command("explain")(explain)
app.command("label-next")(label_next)
app.command("export")(export)
app.command("serve")(serve)
app.command("benchmark")(benchmark)
app.command("analyze")(analyze)
app.add_typer(data_app, name="data")
app.command("fetch")(fetch)
app.command("convert-checkpoint")(convert_checkpoint)
app.command("doctor")(doctor)
app.command("recipes")(recipes)
app.command("report")(report)
app.add_typer(reproduce_app, name="reproduce")


def main() -> None:
    """The command `tadp`."""
    start_in_utf8()
    app()
