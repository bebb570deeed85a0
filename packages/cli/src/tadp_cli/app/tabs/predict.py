"""Predict: what a run finds under a caption, and where another caption changes it."""

import tempfile
from pathlib import Path

import gradio as gr

from tadp_cli.app.comparison import difference, overlay
from tadp_cli.app.images import InputImage
from tadp_cli.app.markup import classes_found, figures
from tadp_cli.app.models import Models, caption_of
from tadp_cli.app.tabs.shared import FAST, SLOW, Shared, guarded, needed
from tadp_heads.overlay import TINT
from tadp_heads.results import Result

Found = list[tuple[Result, str]]
"""Results with their prompts."""


def build(models: Models, shared: Shared) -> None:
    """The tab's components and events."""
    found = gr.State([])
    with gr.Row():
        second = gr.Textbox(label="Second prompt, to compare", placeholder="none", elem_id="second-prompt")
        opacity = gr.Slider(0, 1, TINT, step=0.05, label="Opacity of the classes", elem_id="opacity")
    with gr.Row():
        write = gr.Button("Caption the image")
        go = gr.Button("Predict", variant="primary", elem_id="predict")
    shown = gr.HTML(elem_id="predicted")
    files = gr.File(label="Raw results: mask, depth in metres or boxes", file_count="multiple", elem_id="files")

    @guarded(models)
    def caption(given: InputImage | None, name: str) -> str:
        captioner = models.run(name).captioner if name and models.run(name).recipe.needs_captions else models.captioner
        return caption_of(captioner, needed(given).image)

    @guarded(models)
    def predict(given: InputImage | None, name: str, first: str, second: str, opacity: float) -> tuple:
        run = models.run(name)
        texts = [first, second] if second.strip() else [first]
        results = [run.predict(needed(given), text) for text in texts]
        folder = Path(tempfile.mkdtemp(prefix="tadp-"))
        for number, (result, _) in enumerate(results, start=1):
            result.write(folder, f"prompt{number}", given.name if given else "image")
        return results, _draw(results, opacity), sorted(map(str, folder.iterdir()))

    def redraw(results: Found, opacity: float) -> str:
        return _draw(results, opacity) if results else ""

    write.click(caption, [shared.image, shared.run], shared.prompt, **SLOW)
    go.click(predict, [shared.image, shared.run, shared.prompt, second, opacity], [found, shown, files], **SLOW)
    opacity.input(redraw, [found, opacity], shown, **FAST)


def _draw(results: Found, opacity: float) -> str:
    first = results[0][0]
    shown = [(first.image, "image", "")]
    shown += [
        (overlay(result, opacity), f"prompt {number}", prompt) for number, (result, prompt) in enumerate(results, 1)
    ]
    if len(results) > 1:
        drawn, note = difference(first, results[1][0])
        shown.append((drawn, "where they differ", note))
    lists = [classes_found(result, f"prompt {number}") for number, (result, _) in enumerate(results, 1)]
    return figures(shown) + "".join(lists)
