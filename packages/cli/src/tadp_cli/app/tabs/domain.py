"""Domain: the same image and caption, with nothing, with words and with a learned token for the domain."""

import gradio as gr
import torch

from tadp_captioning.domains import DOMAINS, modify
from tadp_cli.app.comparison import overlay
from tadp_cli.app.images import InputImage
from tadp_cli.app.markup import classes_found, figures
from tadp_cli.app.models import LoadedRun, Models
from tadp_cli.app.tabs.shared import SLOW, Shared, guarded, needed


def build(models: Models, shared: Shared) -> None:
    """The tab's components and events."""
    with gr.Row():
        domain = gr.Dropdown(sorted(DOMAINS), value="watercolor", label="Domain", elem_id="domain")
        go = gr.Button("Compare modifiers", variant="primary", elem_id="compare-modifiers")
    shown = gr.HTML(elem_id="modified")

    @guarded(models)
    def compare(given: InputImage | None, name: str, caption: str, domain: str) -> str:
        run, image = models.run(name), needed(given)
        prompts = modified(run, caption, domain)
        context = run.model.backbone.encode_text(list(prompts.values()))
        results = run.model.predict_batch([image.image] * len(prompts), context=torch.as_tensor(context))
        drawn = [
            (overlay(result), label, prompt) for result, (label, prompt) in zip(results, prompts.items(), strict=True)
        ]
        lists = map(classes_found, results, prompts)
        return figures([(image.image, "image", ""), *drawn]) + "".join(lists)

    go.click(compare, [shared.image, shared.run, shared.prompt, domain], shown, **SLOW)


def modified(run: LoadedRun, caption: str, domain: str) -> dict[str, str]:
    """{modifier: prompt}: null, words, and the learned token where the run has one of this domain."""
    prompts = {"null": caption, "words": modify(caption, domain, "simple")}
    token = run.recipe.prompt.token
    if token and run.recipe.prompt.domain == domain and token in run.model.backbone.tokenizer.get_added_vocab():
        prompts["learned token"] = modify(caption, domain, "textual-inversion", token=token)
    return prompts
