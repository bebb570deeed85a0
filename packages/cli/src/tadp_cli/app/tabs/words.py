"""Words: one heat map per word of the prompt, redrawn as it is typed."""

import html

import gradio as gr

from tadp_backbone.attention_maps import all_layers, layers_at
from tadp_cli.app.images import InputImage
from tadp_cli.app.markup import words_html
from tadp_cli.app.models import Models
from tadp_cli.app.tabs.shared import FAST, Shared, guarded
from tadp_cli.app.words import word_maps

ALL = "all layers of these strides"


def build(models: Models, shared: Shared) -> None:
    """The tab's components and events."""
    there = all_layers(models.backbone)
    default = sorted(set(layers_at(models.backbone).values()))
    with gr.Row():
        strides = gr.CheckboxGroup(sorted(set(there.values())), value=default, label="Strides in pixels")
        layer = gr.Dropdown([ALL, *there], value=ALL, label="Layer")
    maps = gr.HTML(elem_id="word-maps")

    @guarded(models)
    def draw(given: InputImage | None, name: str, prompt: str, strides: list[int], layer: str) -> str:
        if given is None:
            return ""
        backbone = models.run(name).model.backbone if name else models.backbone
        found = {path: stride for path, stride in all_layers(backbone).items() if stride in strides}
        if layer in found:
            found = {layer: found[layer]}
        if not found:
            return "<p>Choose a stride at which the layer is.</p>"
        try:
            return words_html(given.image, word_maps(backbone, models.latents(given, backbone), prompt, found))
        except ValueError as error:  # of a prompt that is not typed to its end, perhaps: no message box for it
            return f'<p role="alert">{html.escape(str(error))}</p>'

    inputs = [shared.image, shared.run, shared.prompt, strides, layer]
    shared.prompt.change(draw, inputs, maps, **FAST)
    for component in (shared.image, shared.run, strides, layer):
        component.change(draw, inputs, maps, **FAST)
