"""The README.md that is saved with a model."""

from typing import Any

from tadp_heads._markdown import code
from tadp_heads.registered_head import settings_of
from tadp_heads.registry import head_name

_CARD = """---
library_name: tadp
tags: [{task}, stable-diffusion]
---

# {task}: {head} on a text-aligned diffusion backbone

- task: {task}
- classes ({count}): {classes}
- parameters of the head: {parameters:,}
- text of an image: {prompt}
- captioner for missing captions: {captioner}
- protocol: {protocol}
- range of the images: {image_range}
{registered}
`config.json` and `model.safetensors` hold the head, `backbone/` the diffusion model.

```python
from PIL import Image
from tadp_heads import PerceptionModel

model = PerceptionModel.from_pretrained(".")
model.predict(Image.open("image.jpg"), caption="a dog on a sofa").overlay().save("overlay.png")
```
"""

_REGISTERED = "- the head {} is code of its own: import the module that registers it before you load the model\n"


def model_card(config: Any, head: Any) -> str:
    """Markdown that says what the model is and how it is used; `config` is a PerceptionConfig."""
    return _CARD.format(
        task=config.task,
        head=type(head).__name__,
        count=len(config.classes),
        classes=", ".join(map(code, config.classes)) or "none",
        parameters=sum(p.numel() for p in head.parameters()),
        prompt=code(config.prompt),
        captioner=code(config.captioner) if config.captioner else "none: captions must be given",
        protocol=config.protocol or "the task's first",
        image_range=config.image_range,
        registered="" if settings_of(head) is None else _REGISTERED.format(code(head_name(config.task, head) or "")),
    )
