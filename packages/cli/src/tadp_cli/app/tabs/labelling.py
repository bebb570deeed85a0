"""Labelling: the run proposes class names, a person selects, the mask is drawn at once, accepted names are kept."""

import html
from pathlib import Path

import gradio as gr

from tadp_cli.app.comparison import overlay
from tadp_cli.app.images import InputImage
from tadp_cli.app.markup import classes_found, figures
from tadp_cli.app.models import Models
from tadp_cli.app.tabs.shared import FAST, SLOW, Shared, guarded, needed

_LIKELY = 0.5
"""Names with at least this probability are selected at first."""


def build(models: Models, shared: Shared, log: Path) -> None:
    """The tab's components and events; accepted names are appended to `log`."""
    with gr.Row():
        ask = gr.Button("Propose names", variant="primary", elem_id="propose")
        accept = gr.Button("Accept the selected names", elem_id="accept")
    names = gr.CheckboxGroup([], label="Names in the image, with probabilities", elem_id="names")
    shown, note = gr.HTML(elem_id="labelled"), gr.HTML(elem_id="accepted")

    @guarded(models)
    def propose(given: InputImage | None, name: str) -> gr.CheckboxGroup:
        image = needed(given)
        found = models.run(name).proposals(log).propose(image.key, image.image)
        likely = [one.name for one in found if one.probability >= _LIKELY]
        return gr.CheckboxGroup([(f"{one.name} {one.probability:.2f}", one.name) for one in found], value=likely)

    @guarded(models)
    def draw(given: InputImage | None, name: str, chosen: list[str]) -> str:
        if given is None or not name:
            return ""
        result = models.run(name).proposals(log).draw(given.key, given.image, chosen)
        shown = [(given.image, "image", ""), (overlay(result), ", ".join(chosen), "")]
        return figures(shown) + classes_found(result)

    @guarded(models)
    def keep(given: InputImage | None, name: str, chosen: list[str]) -> str:
        image = needed(given)
        models.run(name).proposals(log).decide(image.name, chosen)
        line = f"{image.name}: {', '.join(chosen) or 'no class'}, kept in {log}"
        return f"<p>{html.escape(line)}</p>"

    ask.click(propose, [shared.image, shared.run], names, **SLOW)
    names.change(draw, [shared.image, shared.run, names], shown, **FAST)
    accept.click(keep, [shared.image, shared.run, names], note, **SLOW)
