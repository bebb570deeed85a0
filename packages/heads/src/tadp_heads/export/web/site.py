"""Writes the page's folder: its files, the runtime, the graphs as ONNX, and the example images."""

# H W image pixels, T tokens, D width of the context

import base64
import gzip
import io
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from tadp_heads.atomic_files import replacing_folder, write_text
from tadp_heads.export.onnx import ONNX_PACKAGES, OnnxRunner, write_onnx
from tadp_heads.export.parity import Difference, differences_of
from tadp_heads.export.text_encoder import write_text_encoder
from tadp_heads.export.web import runtime
from tadp_heads.export.web.graph import INPUTS, MapsGraph, trace_maps
from tadp_heads.model import PerceptionModel
from tadp_heads.model_config import CAPTION_SLOT
from tadp_heads.preprocessing import to_sd_range

LARGEST_SITE = 30_000_000
"""Bytes of the folder: a page that is opened, not installed."""
_LARGEST_MODEL = 12_000_000
"""Parameters that may fit into it."""
_PAGE = ("index.html", "page.css", "tokenizer.js", "demo.js")
_DATA = "data.js"
_NOTICE = """onnxruntime-web {version}: {runtime}
The model: {licence}
"""


@dataclass(frozen=True, kw_only=True, eq=False)
class DemoImage:
    """An image that the page offers."""

    name: str
    caption: str
    """The prompt that comes with it."""
    image: Image.Image


def write_site(
    folder: Path,
    backbone: Any,
    images: Sequence[DemoImage],
    *,
    title: str,
    licence: str,
    model: PerceptionModel | None = None,
) -> list[Difference]:
    """Write the page to `folder`, which is new or an earlier page; the graphs' largest differences from the model.

    `backbone`: with a text encoder, and maps by token; `model`: of segmentation on it, whose mask is shown; None: each
    pixel is shown as the word that attends to it the most. Sizes are those of the first image. ValueError for a model
    that no page can show or hold, RuntimeError where packages are missing or the graphs differ from the model.
    """
    _check(folder, backbone, model)
    sources = runtime.runtime_files()
    multiple = backbone.size_multiple
    width, height = (-(-side // multiple) * multiple for side in images[0].image.size)
    graphs, found = _graphs(MapsGraph(backbone, model), (height, width), images)
    packed = {runtime.GLUE: sources[runtime.GLUE], runtime.BINARY: sources[runtime.BINARY], **graphs}
    settings: dict[str, Any] = {
        "title": title,
        "size": [height, width],
        "range": "sd" if model is None else model.config.image_range,
        "classes": [] if model is None else model.config.classes,
        "palette": [] if model is None else model.config.palette,
        "prompt": CAPTION_SLOT if model is None else model.config.prompt,
        "tokenizer": tokenizer_settings(backbone.tokenizer),
        "images": [{"name": one.name, "caption": one.caption, "png": _png(one.image)} for one in images],
        "notice": _NOTICE.format(version=runtime.VERSION, runtime=runtime.LICENCE, licence=licence),
    }
    with replacing_folder(folder) as partial:
        for name in _PAGE:
            (partial / name).write_bytes((files(__package__) / "page" / name).read_bytes())
        (partial / runtime.SCRIPT).write_bytes(sources[runtime.SCRIPT])
        write_text(partial / _DATA, f"const site = {json.dumps(settings, ensure_ascii=False)};\nsite.packed = {{}};\n")
        for name, content in packed.items():
            write_text(partial / f"{name}.js", f"site.packed[{json.dumps(name)}] = {json.dumps(_packed(content))};\n")
        write_text(partial / "LICENCES.txt", settings["notice"])
        size = sum(path.stat().st_size for path in partial.iterdir())
        if size > LARGEST_SITE:
            raise ValueError(f"the page would have {size / 1e6:.0f} MB, the limit is {LARGEST_SITE / 1e6:.0f}")
    return found


def _check(folder: Path, backbone: Any, model: PerceptionModel | None) -> None:
    if missing := [name for name in ONNX_PACKAGES if find_spec(name) is None]:
        raise RuntimeError(f"the page needs {', '.join(missing)}: pip install 'tadp-heads[export]'")
    if folder.exists() and not (folder.is_dir() and ((folder / _DATA).is_file() or not any(folder.iterdir()))):
        raise ValueError(f"{folder} exists and is no page of an earlier export: choose another folder with --out")
    parameters = sum(parameter.numel() for parameter in backbone.parameters())
    if parameters > _LARGEST_MODEL:
        raise ValueError(
            f"the backbone has {parameters / 1e6:.0f} million parameters: a page holds {_LARGEST_MODEL / 1e6:.0f} "
            "million at most, as tiny has; export it with --format onnx"
        )
    config = getattr(backbone, "config", None)
    if getattr(config, "class_words", ()) or not getattr(config, "map_strides", ()):
        raise ValueError("the page shows one map per word: export a model whose backbone gives maps by token")
    if model is None:
        return
    if model.config.task != "segmentation":
        raise ValueError(f"the page shows a mask: expected a model for segmentation, found {model.config.task}")
    if model.context is not None or getattr(backbone, "learnt_context", None) is not None:
        raise ValueError("the model's prompt is a saved embedding without words: there is no prompt to edit")


@torch.no_grad()
def _graphs(
    graph: MapsGraph, size: tuple[int, int], images: Sequence[DemoImage]
) -> tuple[dict[str, bytes], list[Difference]]:
    """{name: ONNX file}, and their largest differences from the model over the images."""
    backbone: Any = graph.backbone
    names = ("maps",) if graph.model is None else ("maps", "logits")
    with tempfile.TemporaryDirectory() as folder:
        model_path, text_path = Path(folder) / "model.onnx", Path(folder) / "text.onnx"
        write_onnx(trace_maps(graph, size, backbone.encode_text([""])), model_path, INPUTS, names)
        write_text_encoder(backbone, text_path, write_onnx)
        found = _compared(graph, OnnxRunner(model_path), names, size, images)
        return {path.name: path.read_bytes() for path in (model_path, text_path)}, found


def _compared(
    graph: MapsGraph, run: OnnxRunner, names: Sequence[str], size: tuple[int, int], images: Sequence[DemoImage]
) -> list[Difference]:
    backbone: Any = graph.backbone
    expected, given = [], []
    for one in images:
        pixels = to_sd_range(pil_to_tensor(one.image.convert("RGB").resize((size[1], size[0])))[None])
        inputs: Mapping[str, Tensor] = {"images": pixels, "context": backbone.encode_text([one.caption])}
        expected.append(graph.eval()(**inputs))
        given.append(run(inputs))
    ours, theirs = ([torch.cat(same) for same in zip(*of, strict=True)] for of in (expected, given))
    found = differences_of(names, ours, theirs)
    if not all(difference.is_small for difference in found):
        raise RuntimeError(f"the page's graph differs from the model: {', '.join(map(str, found))}")
    return found


def tokenizer_settings(tokenizer: Any) -> dict[str, Any]:
    """Vocabulary, merges and special tokens of a CLIPTokenizer, for tokenizer.js."""
    model = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    return {
        "vocab": model["vocab"],
        "merges": [pair if isinstance(pair, list) else pair.split(" ") for pair in model["merges"]],
        "added": tokenizer.get_added_vocab(),
        "begin": tokenizer.bos_token_id,
        "end": tokenizer.eos_token_id,
        "padding": tokenizer.pad_token_id,
        "length": tokenizer.model_max_length,
    }


def _png(image: Image.Image) -> str:
    file = io.BytesIO()
    image.convert("RGB").save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _packed(content: bytes) -> str:
    """As text: a page that was opened from a disk may read scripts, and nothing else."""
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
