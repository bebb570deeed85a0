"""The card of an exported model: inputs and outputs with shapes, ranges and units."""

from collections.abc import Sequence

from tadp_heads._markdown import code
from tadp_heads.export.parity import Difference
from tadp_heads.export.settings import ExportSettings
from tadp_heads.model import PerceptionModel

_OUTPUTS = {
    "logits": "float32 (N, C, H, W): before the softmax; the argmax over C is the class id",
    "metres": "float32 (N, 1, H, W): distance in metres",
    "boxes": "float32 (N, M, 4): left, top, right, bottom in pixels of the image; rows without a detection are 0",
    "scores": "float32 (N, M): in [0, 1], descending; 0 for rows without a detection",
    "labels": "int64 (N, M): class id; -1 for rows without a detection",
}
_CARD = """# {file}: {task} on a text-aligned diffusion backbone

Inputs:

{inputs}

Outputs:

{outputs}

- classes, by id: {classes}
- prompt: {prompt}
- precision: {precision}
- licence: {licence}
- largest difference from the model: {differences}

Written by `tadp export`; how to run it: docs/deployment.md of tadp.
"""


def export_card(
    model: PerceptionModel,
    file: str,
    settings: ExportSettings,
    outputs: Sequence[str],
    prompt: str | None,
    licence: str,
    found: Sequence[Difference],
) -> str:
    """Markdown; `prompt`: the text that is a constant of the graph, None: the context is an input."""
    names = [f"{index} {code(name)}" for index, name in enumerate(model.config.classes)]
    return _CARD.format(
        file=file,
        task=model.config.task,
        inputs="\n".join(_inputs(model, settings, file, prompt is not None)),
        outputs="\n".join(f"- `{name}` {_OUTPUTS.get(name, 'float32 (N, ...)')}" for name in outputs),
        classes=", ".join(names) or "none",
        prompt="an input" if prompt is None else f"{code(prompt)}, a constant of the graph",
        precision=settings.precision,
        licence=licence,
        differences="; ".join(map(str, found)),
    )


def _inputs(model: PerceptionModel, settings: ExportSettings, file: str, is_folded: bool) -> list[str]:
    multiple = model.size_multiple
    size = f"H and W multiples of {multiple}" if settings.size is None else "H = {}, W = {}".format(*settings.size)
    order = "; contiguous in memory, which compiled code does not check" if settings.format == "pt2" else ""
    lines = [f"- `images` float32 (N, 3, H, W): RGB in [-1, 1], that is pixel / 127.5 - 1; N >= 1, {size}{order}"]
    if not is_folded:
        lines.append(
            "- `context` float32 (N, T, D): of each image's prompt, what the text encoder gives; "
            f"{code(text_file(file))} makes it of token ids"
        )
    return lines


def text_file(file: str) -> str:
    """Name of the text encoder's file that goes with the model's."""
    stem, _, ending = file.rpartition(".")
    return f"{stem}_text.{ending}"
