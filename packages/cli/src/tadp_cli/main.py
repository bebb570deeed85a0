"""The `tadp` command: thin, and light to import, so that `tadp --help` answers at once."""

import logging
import os
import warnings
from typing import Annotated, Any, ClassVar

import typer

from tadp_cli.console.home import with_home
from tadp_cli.console.launchers import forget_other_launchers
from tadp_cli.console.lazy_commands import MARKUP, LazyGroup
from tadp_cli.console.terminal import PrintableRecord, printable_warning
from tadp_cli.console.utf8 import start_in_utf8
from tadp_cli.console.version import show_version

_SUMMARIES = {
    "demo": "Caption, clean, learn a token, train on photos, evaluate on photos and watercolors; table and report.",
    "caption": "Caption images (default: Scenes); an interrupted command resumes.",
    "captions": "Clean, modify, count, compare and convert files of captions.",
    "personalize": "Learn a token for a domain from unlabelled images (paper 4.3, App. D.1).",
    "train": "Train a head and, at a lower learning rate, the UNet; evaluate on the validation split and test data.",
    "adapt": "Caption both domains, learn the target's domain, train on the source, evaluate or predict the target.",
    "eval": "Evaluate a run on its own validation split or on any data set with the same classes.",
    "predict": "Predict images of any size: an overlay, the raw result and the caption of each; resumes where stopped.",
    "segment": "Segment images without training, by the frozen UNet's cross-attention to the class names.",
    "explain": "Draw one heat map per word over the image: the cross-attention maps that the head gets.",
    "label-next": "Choose the images to label next: uncertain for the run, and diverse.",
    "push": "Upload a model with its card (metrics, licences, limits) or captions as a data set; a rerun resumes.",
    "export": "Export a run's whole model: pixels in; class logits, depth in metres, or boxes out.",
    "app": "Show in a browser what each word does: maps while typing, predictions, the effect of words, labelling.",
    "serve": "Answer POST /predict with the prediction for an image: mask, boxes or depth.",
    "benchmark": "Measure milliseconds per image and peak memory for each size, precision and batch size.",
    "analyze": "The paper's Figure 4 and S1 to S6: prints the numbers, draws the figure.",
    "data": "Check, import, list and generate data sets.",
    "fetch": "Download weights from the first mirror that answers; cached weights are not downloaded again.",
    "convert-checkpoint": "Turn a published checkpoint (UNet, VAE, head) into a run for `tadp eval` and `predict`.",
    "doctor": "Show devices, memory, versions, attention, weights, what fits; a backbone's taps, parameters, GFLOPs.",
    "recipes": "List the recipes: task, data, prompt, schedule (steps x effective batch size), and the paper's result.",
    "report": "Tables of all metrics, one HTML page: metrics, curves, classes, confusions, best and worst images.",
    "reproduce": "Reproduce a table, a figure or an analysis of the paper.",
}
"""{command: first paragraph of its help}"""
_ATTRIBUTES = {"captions": "captions_app", "data": "data_app", "eval": "evaluate", "reproduce": "reproduce_app"}
"""Of the modules of tadp_cli.commands, where the command is not the function of the module's name."""


class _Commands(LazyGroup):
    """The top level: a ~ in an argument is the home folder also where the shell left it."""

    summaries: ClassVar = _SUMMARIES

    def place(self, name: str) -> tuple[str, str]:
        module = name.replace("-", "_")
        return f"tadp_cli.commands.{module}", _ATTRIBUTES.get(name, module)

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [with_home(argument) for argument in args])


app = typer.Typer(
    name="tadp",
    cls=_Commands,
    help="Text-aligned diffusion perception: caption, personalize, train, evaluate.",
    pretty_exceptions_enable=False,
    no_args_is_help=True,
    rich_markup_mode=MARKUP,
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


def main() -> None:
    """The command `tadp`."""
    start_in_utf8()
    app()
