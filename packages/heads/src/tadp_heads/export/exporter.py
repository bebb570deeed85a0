"""Exports a model to a file, compares the outputs of both, and times them."""

# H W image pixels, T tokens, D width of the context

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from tadp_heads.atomic_files import write_text
from tadp_heads.export.card import export_card, text_file
from tadp_heads.export.graph import trace
from tadp_heads.export.onnx import ONNX_PACKAGES, OnnxRunner, write_onnx
from tadp_heads.export.parity import Difference, differences, largest, names_of, random_images
from tadp_heads.export.pt2 import Pt2Runner, write_pt2
from tadp_heads.export.settings import ExportSettings
from tadp_heads.export.text_encoder import write_text_encoder
from tadp_heads.export.timing import milliseconds
from tadp_heads.model import PerceptionModel
from tadp_heads.model_config import CAPTION_SLOT
from tadp_heads.preprocessing import to_sd_range
from tadp_heads.tasks import Output

_CAPTIONS = ("a photo of a street", "two dogs on the grass")
"""Prompts with which a model that takes captions is traced and compared."""
_SIDE = 256
"""Side in pixels at which a graph of dynamic size is compared and timed, up to a stride: it is traced at another."""


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Files of an export, and how their outputs and latency compare with the model's."""

    path: Path
    text_path: Path | None
    """File of the text encoder, where each image has its own prompt; else None."""
    differences: list[Difference]
    """For each output the largest difference over random and real images."""
    milliseconds: dict[str, float]
    """{"model": ..., "exported": ...}: median milliseconds per image on this machine, batch size 1."""


@torch.no_grad()
def export(
    model: PerceptionModel,
    path: Path,
    settings: ExportSettings,
    *,
    caption: str | None = None,
    images: Sequence[Image.Image] = (),
    licence: str = "that of the backbone's weights",
) -> Exported:
    """Write `path` and the card next to it. Leaves the model in eval mode, with fp16 its backbone in half precision.

    `caption` becomes the prompt of all images, of a model that takes captions. `images`: real ones for the comparison.
    Raise ValueError for a model that cannot be exported, RuntimeError where packages are missing, and where outputs
    differ from the model's by more than `parity.TOLERANCES`: the file is then removed.
    """
    path = Path(path)
    check_file(path, settings)
    _check(model, settings, caption)
    varies = caption is None and not model.has_fixed_prompt
    fixed = None if varies else _float(model.encode_captions([caption or ""]))
    batches = [_inputs(model, varies, pixels) for pixels in _pixels(model, settings, images)]
    expected = [_expected(model, fixed, batch) for batch in batches]
    timed = {name: value[:1] for name, value in batches[0].items()}
    model_time = milliseconds(lambda: _expected(model, fixed, timed))
    if settings.precision == "fp16":
        model.backbone.optimize(dtype=torch.float16, channels_last=False)
    example = {
        name: value.to(model.device) for name, value in _inputs(model, varies, _example(model, settings)).items()
    }
    program = trace(model, fixed, example, settings)
    text_path = path.with_name(text_file(path.name)) if varies else None
    names = names_of(expected[0])
    try:
        _writer(settings)(program, path, list(example), names)
        run = OnnxRunner(path) if settings.format == "onnx" else Pt2Runner(path, model.device)
        found = [
            differences(ours, run(batch), settings.precision) for ours, batch in zip(expected, batches, strict=True)
        ]
        worst = largest(found)
        _require_equal(worst, path, settings)
    except BaseException:
        for file in (path, path.with_name(f"{path.name}.data")):
            file.unlink(missing_ok=True)
        raise
    if text_path is not None:
        write_text_encoder(model.backbone, text_path, _writer(settings))
    prompt = None if varies else _prompt_text(model, caption)
    card = export_card(model, path.name, settings, names, prompt, licence, worst)
    write_text(path.with_suffix(".md"), card)
    times = {"model": model_time, "exported": milliseconds(lambda: run(timed))}
    return Exported(path=path, text_path=text_path, differences=worst, milliseconds=times)


def check_file(path: Path, settings: ExportSettings) -> None:
    """Raise ValueError or RuntimeError where `export` could not write this file, before a model is loaded."""
    if settings.format == "onnx" and (missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]):
        raise RuntimeError(f"ONNX needs {', '.join(missing)}: pip install 'tadp-heads[export]'")
    if path.suffix != f".{settings.format}":
        raise ValueError(f"{path}: expected a file that ends in .{settings.format}, as the format is {settings.format}")


def _check(model: PerceptionModel, settings: ExportSettings, caption: str | None) -> None:
    if getattr(model.backbone, "is_stochastic", False):
        raise ValueError("the backbone draws random numbers in each pass: a graph gives the same for the same image")
    if caption is not None and model.has_fixed_prompt:
        raise ValueError("the model's prompt is the same for all images: leave the caption out")
    if settings.precision == "fp16" and not hasattr(model.backbone, "optimize"):
        raise ValueError(f"{type(model.backbone).__name__} has no optimize(dtype=): export it with fp32")


def _float(context: Tensor | None) -> Tensor | None:
    return None if context is None else context.float()


def _prompt_text(model: PerceptionModel, caption: str | None) -> str:
    if model.context is not None or getattr(model.backbone, "learnt_context", None) is not None:
        return "embeddings that are saved with the model"
    if not hasattr(model.backbone, "encode_text"):
        return "none"
    return model.config.prompt.replace(CAPTION_SLOT, caption or "")


def _inputs(model: PerceptionModel, varies: bool, images: Tensor) -> dict[str, Tensor]:
    """{input: tensor} on the CPU; `varies`: each image has its own prompt."""
    context = _float(model.encode_captions(_CAPTIONS[: len(images)])) if varies else None
    return {"images": images} if context is None else {"images": images, "context": context.cpu()}


def _example(model: PerceptionModel, settings: ExportSettings) -> Tensor:
    """Two images (2, 3, H, W) to trace with."""
    stride = model.size_multiple
    return random_images(settings.size or (2 * stride, 3 * stride), 2)


def _pixels(model: PerceptionModel, settings: ExportSettings, images: Sequence[Image.Image]) -> list[Tensor]:
    """The batches (1 or 2, 3, H, W) in [-1, 1] on which model and file are compared."""
    side = -(-_SIDE // model.size_multiple) * model.size_multiple
    height, width = settings.size or (side, side + model.size_multiple)
    real = [pil_to_tensor(image.convert("RGB").resize((width, height)))[None] for image in images]
    return [random_images((height, width), 2), *map(to_sd_range, real)]


def _expected(model: PerceptionModel, fixed: Tensor | None, inputs: Mapping[str, Tensor]) -> Output:
    """The model's own output, on the CPU."""
    context = inputs.get("context", fixed)
    output = model.eval()(inputs["images"].to(model.device), None if context is None else context.to(model.device))
    return type(output)(*(value.cpu() for value in output))


def _writer(settings: ExportSettings) -> Callable[..., None]:
    """(program, path, names of inputs, names of outputs)."""
    return write_onnx if settings.format == "onnx" else write_pt2


def _require_equal(found: Sequence[Difference], path: Path, settings: ExportSettings) -> None:
    if not all(difference.is_small for difference in found):
        hint = "; try --precision fp32" if settings.precision == "fp16" else ""
        differences = ", ".join(map(str, found))
        raise RuntimeError(f"{path} differs from the model and is not kept: {differences}{hint}")
