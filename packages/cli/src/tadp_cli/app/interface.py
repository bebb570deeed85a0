"""The page: an image, a run and a prompt above the tabs."""

from pathlib import Path

import gradio as gr

from tadp_cli.app.images import LONGEST_SIDE, InputImage, open_upload, scene
from tadp_cli.app.markup import figures
from tadp_cli.app.models import Models
from tadp_cli.app.tabs import domain, effect, labelling, predict, segment, words
from tadp_cli.app.tabs.shared import SLOW, Shared, guarded
from tadp_cli.app.training import train_on_scenes
from tadp_heads.data.scenes.scene import SCENE_DOMAINS

_ABOUT = (
    "Change a word and see what the model makes of the image. Images stay on this machine; the model sees them at up "
    f"to {LONGEST_SIDE} pixels."
)
_NO_RUN = (
    "**No run is loaded**: *Words* and *Segment* work on the tiny model; the other tabs need a trained head. Start "
    "with `tadp app RUN`, or train one on Scenes now, which takes a few minutes."
)
_KEEP_SECONDS = 3600
"""Files of results and uploads are deleted after this time."""


def make_page(models: Models, log: Path, runs_folder: Path) -> gr.Blocks:
    """The whole page; accepted labels go into `log`, a run that is trained from it below `runs_folder`."""
    with gr.Blocks(
        title="tadp", analytics_enabled=False, delete_cache=(_KEEP_SECONDS, _KEEP_SECONDS), fill_width=False
    ) as page:
        gr.Markdown("# Text-aligned diffusion perception\n" + _ABOUT)
        image: gr.State = gr.State(None)
        with gr.Row():
            upload = gr.Image(
                type="filepath", image_mode=None, sources=["upload", "clipboard"], height=220, elem_id="upload",
                label="Your image",
            )  # fmt: skip
            with gr.Column():
                number = gr.Number(0, label="Scene", precision=0, minimum=0, maximum=999_999, elem_id="scene-number")
                scene_domain = gr.Dropdown(list(SCENE_DOMAINS), value=SCENE_DOMAINS[0], label="Domain of the Scene")
                take = gr.Button("Show this Scene", elem_id="take-scene")
            shown = gr.HTML(elem_id="chosen-image")
        prompt = gr.Textbox(label="Prompt", lines=1, max_lines=1, max_length=1000, elem_id="prompt")
        names = list(models.runs)
        run = gr.Dropdown(names, value=names[0] if names else None, label="Run", visible=bool(names), elem_id="run")
        shared = Shared(image, run, prompt)
        if not names:
            with gr.Row():
                gr.Markdown(_NO_RUN)
                start = gr.Button("Train a segmentation run on Scenes", elem_id="train")
            said = gr.HTML(elem_id="training")
            start.click(lambda: (yield from train_on_scenes(models, runs_folder)), None, [said, run], **SLOW)
        with gr.Tabs():
            for label, build in (("Words", words.build), ("Segment", segment.build), ("Predict", predict.build)):
                with gr.Tab(label):
                    build(models, shared)
            with gr.Tab("Effect of each word"):
                effect.build(models, shared)
            with gr.Tab("Domain"):
                domain.build(models, shared)
            with gr.Tab("Labelling"):
                labelling.build(models, shared, log)

        @guarded(models)
        def show_upload(path: str | None) -> tuple:
            return _shown(open_upload(path)) if path else (gr.skip(), gr.skip())

        @guarded(models)
        def show_scene(number: float | None, scene_domain: str) -> tuple:
            made = scene(int(number or 0), scene_domain)
            return *_shown(made), made.caption

        upload.upload(show_upload, upload, [image, shown], **SLOW)
        take.click(show_scene, [number, scene_domain], [image, shown, prompt], **SLOW)
        page.load(show_scene, [number, scene_domain], [image, shown, prompt], **SLOW)
    return page


def _shown(given: InputImage) -> tuple[InputImage, str]:
    return given, figures([(given.image, given.name, f"{given.image.width}x{given.image.height}")])
