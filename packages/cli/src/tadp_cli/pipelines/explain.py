"""Heat maps of the words of a caption over an image, as an image and as numbers."""

# H W image pixels, h w cells

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor

from tadp_backbone import DiffusionBackbone
from tadp_backbone.attention_maps import Attention, attention_of, layers_at, recording
from tadp_backbone.latent_memory import encoding_once
from tadp_backbone.text.word_attention import Word, heat_maps, words_of
from tadp_captioning import CleaningLimits
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.recipe import Recipe
from tadp_cli.inputs.user_images import open_user_image
from tadp_cli.pipelines.forward_pass import attention_pass
from tadp_cli.pipelines.loading import loaded_backbone, loaded_model
from tadp_cli.precision import AUTO, Speed
from tadp_cli.prediction.model import check_captioned, class_names, takes_captions
from tadp_cli.prompts.authors import captioner_of
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_cli.report.explain_sheets import compare_sheet, layers_sheet, words_sheet
from tadp_heads import PerceptionModel
from tadp_heads.atomic_files import replacing
from tadp_heads.data.palette import Color
from tadp_heads.preprocessing import padded_size
from tadp_heads.results import SegmentationResult

BEGIN, END = "<begin>", "<end>"
"""What the tokens before and after a prompt are called in the images."""


@dataclass(frozen=True, kw_only=True)
class ExplainOptions:
    """What is explained, and how it is shown."""

    caption: str | None = None
    """The text; None: the run's model captions the image."""
    compare: tuple[str, str] | None = None
    """Two texts in place of one, shown side by side."""
    run: Path | None = None
    """A run, whose UNet and prompt are used and whose prediction is shown."""
    backbone: str = "tiny"
    """Without a run: whatever `DiffusionBackbone.from_pretrained` takes."""
    strides: tuple[int, ...] | None = None
    """Image pixels per cell of the layers that are read; None: those whose maps the head is given."""
    layers: bool = False
    """Show each layer apart."""
    ends: bool = False
    """Show the start and end tokens too."""
    cleaner: str = ""
    """With a run: what removes the words for its domain from the caption; "": what it records."""
    limits: CleaningLimits = NO_LIMITS_GIVEN
    longest_side: int = 512
    """An image with a longer side, in pixels, is scaled down to it."""
    speed: Speed = AUTO
    """How the model computes."""

    def __post_init__(self) -> None:
        if self.longest_side < 1:
            raise ValueError(f"--size is {self.longest_side}, expected a number of pixels above 0")
        if self.compare and (self.caption is not None or self.layers):
            raise ValueError("--compare takes its own two texts and averages layers: leave --caption and --layers out")
        if self.run is None and self.caption is None and self.compare is None:
            raise ValueError("no text: give it with --caption, or a --run whose model writes captions")


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """Where the words of one prompt attend."""

    prompt: str
    words: tuple[Word, ...]
    attention: Attention
    maps: np.ndarray
    """(words, H, W), probabilities in [0, 1], layers and strides pooled."""
    prediction: Image.Image | None
    """What the run predicts for this prompt, over the image."""
    classes: Mapping[str, Color] = field(default_factory=dict)
    """{class: colour} of the prediction, of those found in a mask."""
    same_pass: bool
    """Whether the maps are of the very pass that the prediction was made in."""
    unknown: tuple[str, ...] = ()
    """Words that the tiny model never read: it has no token of their own for them."""

    @property
    def peaks(self) -> list[tuple[str, float]]:
        """(word, maximum of its map)."""
        return [(word.text, float(heat.max())) for word, heat in zip(self.words, self.maps, strict=True)]

    @property
    def pooling(self) -> str:
        """How the maps came about."""
        strides = sorted(set(self.attention.strides.values()))
        return (
            f"Pooling: mean over heads, over the layers of a stride, then over strides ({len(self.attention.layers)} "
            f"cross-attention layers at {', '.join(map(str, strides))}); tokens of a word summed; upsampled bilinearly."
        )


Explain = Callable[[Image.Image, str | None], Explained]
"""What explains an image under a text; None: the caption that the run's captioner writes."""


def explain_image(path: Path, out: Path, options: ExplainOptions, *, device: str) -> list[Explained]:
    """Writes `out`, a sheet, and next to it a .npz (see `_write_arrays`); returns one result per prompt."""
    if out.suffix.lower() != ".png":
        raise ValueError(f"--out is {out}, expected the name of a .png file")
    image = open_user_image(path)
    image.thumbnail((options.longest_side, options.longest_side), Image.Resampling.BICUBIC)
    explain = _of_run(options.run, options, device) if options.run else _of_backbone(options, device)
    with encoding_once():
        found = [explain(image, text) for text in options.compare or (options.caption,)]
    draw = compare_sheet if options.compare else layers_sheet if options.layers else words_sheet
    draw(out, image, found)
    _write_arrays(out.with_suffix(".npz"), found)
    return found


def _of_backbone(options: ExplainOptions, device: str) -> Explain:
    backbone = loaded_backbone(options.backbone, options.speed, device, read_inside=True)
    layers = layers_at(backbone, options.strides)

    def explain(image: Image.Image, given: str | None) -> Explained:
        text = given or ""
        words = _words(backbone, text, options.ends)
        attention = attention_pass(backbone, pil_to_tensor(image), backbone.encode_text([text]), layers)
        # The tiny model has one token for each word that it was trained on; real ones have words of several tokens.
        unknown = tuple(word.text for word in words if len(word.indices) > 1) if options.backbone == "tiny" else ()
        return _explained(text, words, attention, prediction=None, same_pass=False, unknown=unknown)

    return explain


def _of_run(run: Path, options: ExplainOptions, device: str) -> Explain:
    """The maps of the pass in which the run predicts; where its protocol takes several passes, of one of their own."""
    recipe = read_prompting(run)
    model = loaded_model(run, options.speed, device, read_inside=True)
    if not isinstance(model.backbone, DiffusionBackbone):
        raise ValueError(f"{run} has a vision transformer, which has no attention to words: explain a diffusion model")
    layers = layers_at(model.backbone, options.strides)
    if not recipe.kind.has_words:
        raise ValueError(f"{run} was trained with the prompt {recipe.prompt.kind!r}, which has no words to show")
    tagger = tagger_of(run, recipe, model, device)
    prompter = Prompter.of(recipe, class_names(run, model), options.cleaner, options.limits)

    def explain(image: Image.Image, text: str | None) -> Explained:
        given = _caption_for(model, recipe, image, text, run, device=device)
        found = prompted(prompter, model, tagger, [image], [given])
        context = found.text_context
        prompt = found.texts[0] if found.texts else ""
        words = _words(model.backbone, prompt, options.ends)
        with recording(model.backbone, layers) as recorded:
            result = model.predict_batch([image], context=context)[0]
        size = (image.height, image.width)
        same_pass = recorded.passes == 1 and recorded.padded_size == padded_size(size, model.size_multiple)
        if same_pass:
            attention = attention_of(recorded, layers, size)
        else:
            config = model.config
            pixels = pil_to_tensor(image)
            attention = attention_pass(model.backbone, pixels, context, layers, config.image_range, config.seed)
        classes = result.found_colors if isinstance(result, SegmentationResult) else {}
        drawn = {"prediction": result.overlay(), "classes": classes}
        return _explained(prompt, words, attention, same_pass=same_pass, **drawn)

    return explain


def _explained(prompt: str, words: list[Word], attention: Attention, **rest: Any) -> Explained:
    maps = heat_maps(attention.features(), words).cpu().numpy()
    return Explained(prompt=prompt, words=tuple(words), attention=attention, maps=maps, **rest)


def _words(backbone: DiffusionBackbone, prompt: str, ends: bool) -> list[Word]:
    """The prompt's words without punctuation; with `ends` between the begin and the end token."""
    everything = words_of(backbone.tokenizer, prompt)
    words = [word for word in everything if any(letter.isalnum() for letter in word.text)]
    if not words:
        raise ValueError(f"the prompt {prompt!r} has no words")
    if not ends:
        return words
    return [Word(BEGIN, (0,)), *words, Word(END, (1 + max(index for word in everything for index in word.indices),))]


def _caption_for(
    model: PerceptionModel, recipe: Recipe, image: Image.Image, caption: str | None, run: Path, *, device: str
) -> str:
    if model.context is not None:
        raise ValueError(f"{run} was trained with embeddings in place of a text: it has no words to explain")
    if not takes_captions(model, recipe):
        if caption is not None:
            raise ValueError(f"{run} was trained without captions: leave --caption and --compare out")
        return ""
    if caption is not None:
        return caption
    check_captioned(run, recipe, "give the text with --caption")
    return captioner_of(recipe, device).caption([image])[0]


def _write_arrays(path: Path, found: Sequence[Explained]) -> None:
    """Of the first prompt `prompt`, `words` (n), `maps` (n, H, W); `cells_S` (n, h, w), the mean over the layers of
    stride S as the backbone gives it; `layers` (L) and `layer_I` (n, h, w). Of a second prompt the same with `_b`.
    Atomic: the file is there whole or not at all."""
    arrays: dict[str, np.ndarray] = {}
    for suffix, one in zip(("", "_b"), found, strict=False):
        arrays |= {f"prompt{suffix}": np.array(one.prompt), f"words{suffix}": np.array([w.text for w in one.words])}
        arrays |= {f"maps{suffix}": one.maps, f"layers{suffix}": np.array(list(one.attention.layers))}
        for stride, cells in one.attention.features().attention.items():
            arrays[f"cells_{stride}{suffix}"] = _of_words(cells[0], one.words)
        for index, cells in enumerate(one.attention.layers.values()):
            arrays[f"layer_{index}{suffix}"] = _of_words(cells, one.words)
    with replacing(path) as partial, partial.open("wb") as file:  # NumPy adds .npz to the name of a file not open yet
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle


def _of_words(cells: torch.Tensor, words: Sequence[Word]) -> np.ndarray:
    """(T, h, w) -> (words, h, w)."""
    return torch.stack([cells[list(word.indices)].sum(0) for word in words]).float().cpu().numpy()
