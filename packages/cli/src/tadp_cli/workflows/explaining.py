"""Heat maps of the words of a caption over an image, as a picture and as numbers."""

import os
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tadp_backbone import DiffusionBackbone, Features
from tadp_backbone.words import Word, heat_maps, words_of
from tadp_captioning import load_captioner
from tadp_cli.report.rows import HeatRow
from tadp_cli.report.word_maps import word_figure
from tadp_cli.workflows.devices import checked_device
from tadp_cli.workflows.runs import read_run
from tadp_heads import PerceptionModel
from tadp_heads.data.ranges import RANGES
from tadp_heads.data.reading import open_rgb
from tadp_heads.model import CAPTION_SLOT


def explain_image(
    path: Path,
    out: Path,
    *,
    caption: str | None,
    run: Path | None,
    backbone: str,
    longest_side: int,
    device: str,
) -> list[tuple[str, float]]:
    """Writes `out` and, beside it, arrays `words` (n), `maps` (n, H, W), `prompt`; returns (word, its maximum).

    With a run, the text goes through the run's prompt and the prediction for the same text is drawn too.
    """
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out is {out}, expected the name of a .png file")
    place = checked_device(device)
    image = _at_most(open_rgb(path), longest_side)
    prediction = None
    if run is not None:
        read_run(run)
        model = PerceptionModel.from_pretrained(run).to(place)
        caption = _caption_for(model, image, caption, run, device=place)
        prompt = model.config.prompt.replace(CAPTION_SLOT, caption)
        features = _features(model.backbone, image, prompt, model.config.image_range)
        prediction = model.predict(image, caption).overlay()
        tokenizer = model.backbone.tokenizer
    else:
        if caption is None:
            raise ValueError("no text: give it with --caption, or a --run whose model writes captions")
        prompt, net = caption, DiffusionBackbone.from_pretrained(backbone, device=place)
        features, tokenizer = _features(net, image, prompt, "sd"), net.tokenizer
    words = [word for word in words_of(tokenizer, prompt) if any(letter.isalnum() for letter in word.text)]
    if not words:
        raise ValueError(f"the prompt {prompt!r} has no words")
    maps = heat_maps(features, words).cpu().numpy()
    row = HeatRow(image, prompt, [(word.text, heat) for word, heat in zip(words, maps, strict=True)])
    word_figure(out, row, prediction)
    _write_arrays(out.with_suffix(".npz"), words, maps, prompt)
    return [(word.text, float(heat.max())) for word, heat in zip(words, maps, strict=True)]


def _at_most(image: Image.Image, longest_side: int) -> Image.Image:
    """Scaled down, keeping its shape, where it is larger."""
    if longest_side < 1:
        raise ValueError(f"--size is {longest_side}, expected a number of pixels above 0")
    smaller = image.copy()
    smaller.thumbnail((longest_side, longest_side), Image.Resampling.BICUBIC)
    return smaller


def _caption_for(model: PerceptionModel, image: Image.Image, caption: str | None, run: Path, *, device: str) -> str:
    if model.context is not None:
        raise ValueError(f"{run} was trained with embeddings in place of a text: it has no words to explain")
    if not model.config.needs_caption:
        if caption is not None:
            raise ValueError(f"{run} was trained with one text for all images: leave --caption out")
        return ""
    if caption is None and model.config.captioner is None:
        raise ValueError(f"{run} writes no captions itself: give the text with --caption")
    if caption is not None:
        return caption
    return load_captioner(model.config.captioner, device=device).caption([image])[0]


@torch.no_grad()
def _features(backbone: DiffusionBackbone, image: Image.Image, prompt: str, image_range: str) -> Features:
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]  # (1, 3, H, W)
    return backbone(RANGES[image_range](pixels), backbone.encode_text([prompt]))


def _write_arrays(path: Path, words: list[Word], maps: np.ndarray, prompt: str) -> None:
    """Atomic: the file is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
    np.savez_compressed(temporary, words=np.array([word.text for word in words]), maps=maps, prompt=np.array(prompt))
    os.replace(temporary, path)
