"""The files for people and programs next to the weights: README.md, personalization.json, results.json."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tadp_personalize._io import write_json, write_text
from tadp_personalize._markdown import code
from tadp_personalize.config import TrainingConfig
from tadp_personalize.io.pipeline_parts import Base
from tadp_personalize.io.tokens import CARD_DATA_FILE, FORMAT
from tadp_personalize.result import Personalization
from tadp_personalize.training.checkpoint import README_FILE, RESULTS_FILE

_KINDS = {"learnt": "learned prompt", "initial_word": "initial word", "plain": "plain prompt", "empty": "empty prompt"}


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is said about a result."""

    method: str
    word: str
    base: Base
    config: TrainingConfig
    captions: dict[str, str]
    """Image -> its caption in the training sentences, "" without a captioner."""
    file: str
    """Name of the file or folder that diffusers loads."""
    usage: str
    """Python lines that load the files into `pipe`."""
    held_out: dict[str, Any] | None
    """What the held-out loss was measured on."""
    seconds: float


def write_card(card: Card, result: Personalization) -> None:
    """Write the three files into the result's folder."""
    made_on = {"name": card.base.name, "identity": card.base.identity}
    data = {"format": FORMAT, "method": card.method, "token": result.token, "initial_word": card.word, "base": made_on}
    data |= {"file": card.file, "images": result.images.as_dict(), "captions": card.captions}
    data["settings"] = asdict(card.config)
    measured = None if card.held_out is None else card.held_out | {"before": result.before, "after": result.after}
    numbers = {"method": card.method, "token": result.token, "steps": result.steps, "seconds": round(card.seconds, 1)}
    numbers |= {
        "trained_parameters": result.trained_parameters,
        "images": len(result.images.used),
        "held_out": measured,
    }
    write_json(result.folder / CARD_DATA_FILE, data, allow_nan=False)
    write_text(result.folder / README_FILE, _readme(card, result))
    write_json(result.folder / RESULTS_FILE, numbers, allow_nan=False)  # last: where it is, the rest is there


def _readme(card: Card, result: Personalization) -> str:
    settings = "\n".join(
        f"- {name}: {code(str(value))}" for name, value in asdict(card.config).items() if name != "templates"
    )
    return f"""# {code(result.token)} ({card.method})

Learned from {len(result.images.used)} images (SHA-256 of their pixels: `{result.images.sha256}`) on the base model
{code(card.base.name)} (`{card.base.identity}`) in {result.steps} steps; {result.trained_parameters} numbers were
trained.
It fits this base model only.

```python
{card.usage}
```

{_table(result)}
## Settings

{settings}
- templates: {"; ".join(map(code, card.config.templates))}

## Licence

What was learned depends on the base model and on the images: the base model's licence holds for it, and the rights in
the images must allow its use. `tadp push` writes here what is known about the base model's.
"""


def _table(result: Personalization) -> str:
    if result.before is None or result.after is None:
        return "No held-out images were given, so nothing says how well the domain was learned.\n"
    rows = "\n".join(
        f"| {label} | {result.before[kind]:.5f} | {result.after[kind]:.5f} |" for kind, label in _KINDS.items()
    )
    return f"""Denoising loss on held-out images, same noise and time steps everywhere (lower is better):

| | before | after |
|---|---|---|
{rows}
"""


def usage_of_token(path: Path, template: str) -> str:
    """Return the lines that load a learned token."""
    return f"pipe.load_textual_inversion({path.name!r})\nimage = pipe({template!r}).images[0]"


def usage_of_lora(path: Path, template: str) -> str:
    """Return the lines that load a LoRA."""
    return f'pipe.load_lora_weights(".", weight_name={path.name!r})\nimage = pipe({template!r}).images[0]'


def usage_of_pipeline(path: Path, template: str) -> str:
    """Return the lines that load a whole pipeline."""
    return f"pipe = StableDiffusionPipeline.from_pretrained({path.name!r})\nimage = pipe({template!r}).images[0]"
