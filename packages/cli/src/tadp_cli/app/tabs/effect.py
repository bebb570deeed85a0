"""Effect of each word: what changes without it, or with another in its place, next to where it attends."""

import gradio as gr
from torch import Tensor

from tadp_backbone.text.word_attention import words_of
from tadp_cli.app import deletion
from tadp_cli.app.images import InputImage
from tadp_cli.app.markup import classes_found, effects_html, figures
from tadp_cli.app.models import Models
from tadp_cli.app.tabs.shared import SLOW, Shared, guarded, needed
from tadp_cli.report.heat_maps import heat_overlay

_ABOUT = (
    "Each word is removed from the prompt and the image is predicted again. *Correlation* is Spearman's, over the "
    "pixels, of the word's attention and what changes without it; *in top 20 %* is the share of the change in the "
    "fifth of the image where the word attends most (chance: 0.20)."
)


def build(models: Models, shared: Shared) -> None:
    """The tab's components and events."""
    gr.Markdown(_ABOUT)
    go = gr.Button("Take out each word", variant="primary", elem_id="delete-words")
    table = gr.HTML(elem_id="effects")
    with gr.Row():
        old = gr.Textbox(label="Replace", elem_id="old-word")
        new = gr.Textbox(label="by", elem_id="new-word")
        swap = gr.Button("Replace the word", elem_id="replace-word")
    swapped = gr.HTML(elem_id="replaced")

    @guarded(models)
    def delete(given: InputImage | None, name: str, prompt: str) -> str:
        image = needed(given)
        return effects_html(image.image, deletion.effects(models.run(name).encode(image), prompt))

    @guarded(models)
    def replace(given: InputImage | None, name: str, prompt: str, old: str, new: str) -> str:
        run, image = models.run(name), needed(given)
        other = deletion.replaced(words_of(run.model.backbone.tokenizer, prompt), old.strip(), new.strip())
        encoded, both = run.encode(image), run.model.backbone.encode_text([prompt, other])
        found: Tensor = encoded.probabilities(both).float().cpu()
        change, changed, _ = deletion.difference(found[0], found[1], run.model.config.classes)
        results = {text: encoded.result(one[None]) for one, text in zip(both, (prompt, other), strict=True)}
        shown = [(result.overlay(), text, "") for text, result in results.items()]
        shown.append((heat_overlay(image.image, change, 1.0), "change", f"another class in {100 * changed:.1f} %"))
        return figures(shown) + "".join(classes_found(result, text) for text, result in results.items())

    delete_inputs = [shared.image, shared.run, shared.prompt]
    go.click(delete, delete_inputs, table, **SLOW)
    swap.click(replace, [*delete_inputs, old, new], swapped, **SLOW)
