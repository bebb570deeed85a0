"""Segment: masks of any class names without a head or training, from where the names attend."""

import gradio as gr
from torch import Tensor

from tadp_backbone.text.training_free import TrainingFreeConfig
from tadp_cli.app.images import InputImage
from tadp_cli.app.markup import classes_found, figures
from tadp_cli.app.models import Models
from tadp_cli.app.tabs.shared import FAST, SLOW, Shared, guarded, needed
from tadp_cli.app.words import spoken_words
from tadp_cli.deployment.segment import class_list, class_scores_of, segmented

_ABOUT = (
    "Nothing is trained for these classes: each pixel gets the name that attends there most, in the UNet alone. "
    "Pixels that no name reaches are background."
)
Found = tuple[InputImage, tuple[str, ...], Tensor]
"""An image, K class names and their scores (K, H, W)."""


def build(models: Models, shared: Shared) -> None:
    """The tab's components and events."""
    default = TrainingFreeConfig()
    found: gr.State = gr.State(None)
    gr.Markdown(_ABOUT)
    with gr.Row():
        classes = gr.Textbox(
            label="Classes, separated by commas", placeholder="empty: the content words of the prompt",
            max_length=1000, elem_id="class-names",
        )  # fmt: skip
        threshold = gr.Slider(
            0, 0.95, default.threshold, step=0.05, elem_id="threshold",
            label="Background: pixels below this share of the highest score",
        )  # fmt: skip
    go = gr.Button("Segment", variant="primary", elem_id="segment")
    shown = gr.HTML(elem_id="segmented")

    @guarded(models)
    def score(given: InputImage | None, name: str, prompt: str, classes: str, threshold: float) -> tuple[Found, str]:
        image, backbone = needed(given), models.run(name).model.backbone if name else models.backbone
        content = [word.text for word in spoken_words(backbone, prompt) if word.has_content]
        names = class_list(classes if classes.strip() else ",".join(content))
        scored = (image, names, class_scores_of(backbone, image.image, names, default))
        return scored, _draw(scored, threshold)

    def redraw(scored: Found | None, threshold: float) -> str:
        return _draw(scored, threshold) if scored else ""

    inputs = [shared.image, shared.run, shared.prompt, classes, threshold]
    for asked in (go.click, classes.submit):
        asked(score, inputs, [found, shown], **SLOW)
    threshold.input(redraw, [found, threshold], shown, **FAST)


def _draw(scored: Found, threshold: float) -> str:
    given, names, scores = scored
    result = segmented(scores, given.image, names, threshold)
    return figures([(given.image, "image", ""), (result.overlay(), "classes", "")]) + classes_found(result)
