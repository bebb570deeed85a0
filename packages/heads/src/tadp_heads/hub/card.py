"""The model card (README.md) with the hub's metadata: use, metrics, licences and limits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tadp_heads._markdown import code, front_matter
from tadp_heads.registered_head import settings_of
from tadp_heads.registry import head_name

CARD_NAME = "README.md"
_PIPELINES = {"segmentation": "image-segmentation", "depth": "depth-estimation", "detection": "object-detection"}
"""The hub's name of each task."""
_LIMITS = (
    "The metrics hold for images like those of the splits they were measured on; another domain, resolution or camera "
    "can lower them without a warning.",
    "Predictions depend on the text: a caption that leaves out or invents an object changes them.",
)
_CARD = """{metadata}
# {title}
{image}
A {head} for {task} on the features and cross-attention maps of a text-conditioned diffusion model
([tadp](https://arxiv.org/abs/2310.00031)).

- task: {task}
- classes ({count}): {classes}
- parameters of the head: {parameters:,}
- text of an image: {prompt}
- captioner for missing captions: {captioner}
- protocol: {protocol}
- range of the images: {image_range}
{more}
`config.json` and `model.safetensors` hold the head, `backbone/` the diffusion model.

## Use

```python
from PIL import Image
from tadp_heads import PerceptionModel

model = PerceptionModel.from_pretrained("{place}")
model.predict(Image.open("image.jpg"){caption}).overlay().save("overlay.png")
```

{sections}"""
_REGISTERED = "- the head {} is code of its own: import the module that registers it before you load the model\n"


@dataclass(frozen=True, kw_only=True)
class CardDetails:
    """Optional parts of a card, in addition to the model's own config."""

    repository: str = ""
    """owner/name, from which the usage lines load; "": the folder of the card."""
    licence: str = ""
    """The hub's key of the licence that holds for the whole model."""
    licences: Mapping[str, str] = field(default_factory=dict)
    """{part: its licence}."""
    base_model: str = ""
    """owner/name of the diffusion model that it was trained from."""
    data: str = ""
    """Name of the training data."""
    evaluations: Sequence[Mapping[str, Any]] = ()
    """{"data": name, "split": name, "metrics": {name: value}} each."""
    image: str = ""
    """File name of a sample image next to the card."""
    limits: Sequence[str] = ()


def model_card(config: Any, head: Any, details: CardDetails | None = None) -> str:
    """Markdown; `config` is a PerceptionConfig."""
    details = details or CardDetails()
    title = details.repository.rpartition("/")[2] or f"{config.task}: {type(head).__name__}"
    more = f"- trained on: {code(details.data)}\n" if details.data else ""
    if settings_of(head) is not None and not type(head).__module__.startswith("tadp_heads."):
        more += _REGISTERED.format(code(head_name(config.task, head) or ""))
    return _CARD.format(
        metadata=front_matter(_metadata(config, title, details)),
        title=title,
        image=f"\n![a prediction]({details.image})\n" if details.image else "",
        task=config.task,
        head=type(head).__name__,
        count=len(config.classes),
        classes=", ".join(map(code, config.classes)) or "none",
        parameters=sum(p.numel() for p in head.parameters()),
        prompt=code(config.prompt),
        captioner=_captioner(config),
        protocol=config.protocol or "the task's first",
        image_range=config.image_range,
        more=more,
        place=details.repository or ".",
        caption=', caption="what the image shows"' if config.needs_caption and not config.captioner else "",
        sections="\n".join(_sections(details)),
    )


def _captioner(config: Any) -> str:
    if config.captioner:
        return code(config.captioner)
    return "none: captions must be given" if config.needs_caption else "none is needed"


def _metadata(config: Any, title: str, details: CardDetails) -> dict[str, Any]:
    """The hub's metadata keys; those without a value are left out."""
    known = {
        "library_name": "tadp",
        "pipeline_tag": _PIPELINES.get(config.task),
        "license": details.licence,
        "base_model": details.base_model,
        "tags": [config.task, "stable-diffusion", "text-aligned-diffusion-perception"],
    }
    results = [_index_entry(config.task, evaluation) for evaluation in details.evaluations if evaluation["metrics"]]
    index = [{"name": title, "results": results}] if results else None
    return {key: value for key, value in {**known, "model-index": index}.items() if value}


def _index_entry(task: str, evaluation: Mapping[str, Any]) -> dict[str, Any]:
    data, split = evaluation["data"], evaluation["split"]
    return {
        "task": {"type": _PIPELINES.get(task, task), "name": task},
        "dataset": {"type": data, "name": f"{data}, {split}", "split": split},
        "metrics": [{"type": name, "name": name, "value": value} for name, value in evaluation["metrics"].items()],
    }


def _sections(details: CardDetails) -> list[str]:
    sections = []
    if details.evaluations:
        rows = [
            f"| {code(entry['data'])} | {code(entry['split'])} | {name} | {value:.4f} |"
            for entry in details.evaluations
            for name, value in entry["metrics"].items()
        ]
        sections.append(
            "\n".join(["## Metrics", "", "| data | split | metric | value |", "|---|---|---|---:|", *rows, ""])
        )
    if details.licences:
        lines = [f"- {part}: {licence}" for part, licence in details.licences.items()]
        sections.append("\n".join(["## Licences", "", *lines, ""]))
    return [*sections, "\n".join(["## Limits", "", *(f"- {line}" for line in (*_LIMITS, *details.limits)), ""])]
