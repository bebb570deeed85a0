"""Vision transformers of every family at tiny size, with random weights, as folders of transformers."""

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from tadp_backbone.vision.families import FAMILIES

_WORDS = [
    "a",
    "photo",
    "of",
    "an",
    "the",
    "circle",
    "square",
    "triangle",
    "cat",
    "dog",
    "dining",
    "table",
    "red",
    "blue",
    "background",
]
_TOWER = {
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
}
_TEXT = {"vocab_size": 32, "max_position_embeddings": 12, "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 1}


def tiny_config(kind: str, patch_size: int = 4) -> transformers.PretrainedConfig:
    """Of a model_type; images of 32 pixels were its training's."""
    vision = {**_TOWER, "patch_size": patch_size, "image_size": 32, "num_patches": 64}
    if kind.startswith("siglip2"):
        vision.pop("image_size")
    else:
        vision.pop("num_patches")
    cls = getattr(transformers, FAMILIES[kind].config)
    if not FAMILIES[kind].two_towers:
        registers = {"num_register_tokens": 2} if kind in ("dinov2_with_registers", "dinov3_vit") else {}
        return cls(**vision, **registers)
    text = {**_TOWER, **_TEXT, "num_hidden_layers": 1} | ({"projection_size": 16} if "siglip" in kind else {})
    return cls(vision_config=vision, text_config=text, **({"projection_dim": 12} if kind == "clip" else {}))


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token per word; "</s>" ends and pads a text."""
    words = {word: index for index, word in enumerate(["<unk>", "</s>", "<s>", *_WORDS])}
    plain = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=plain, unk_token="<unk>", eos_token="</s>", pad_token="</s>", bos_token="<s>"
    )


def tiny_vision(kind: str, folder: Path, patch_size: int = 4) -> Path:
    """The folder of a tiny model of that model_type."""
    torch.manual_seed(0)
    model = FAMILIES[kind].build(tiny_config(kind, patch_size))
    model.save_pretrained(folder)
    if FAMILIES[kind].two_towers:
        word_tokenizer().save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    return folder
