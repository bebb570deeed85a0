"""Stable Diffusion's real classes at toy size, with random weights."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from copies import copies_of
from diffusers import AutoencoderKL, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tadp_backbone import BackboneConfig, DiffusionBackbone

CONTEXT_WIDTH = 64


def _unet() -> UNet2DConditionModel:
    """The topology of Stable Diffusion 1 with 32 model channels and 8 heads."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=CONTEXT_WIDTH,
        attention_head_dim=8,
    ).eval()


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
    ).eval()


def _tokenizer() -> CLIPTokenizer:
    """CLIP's byte-level scheme; "cat", "dog" and "photo" are one token, other words one token per letter."""
    alphabet = sorted(ByteLevel.alphabet())
    merges = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>")]
    merges += [("p", "h"), ("ph", "o"), ("pho", "t"), ("phot", "o</w>")]
    symbols = [*alphabet, *(f"{letter}</w>" for letter in alphabet), *("".join(pair) for pair in merges)]
    symbols += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {symbol: number for number, symbol in enumerate(symbols)}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=CONTEXT_WIDTH,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=1,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config).eval()


def _models(text: bool, vae: bool) -> dict[str, Any]:
    return {
        "unet": _unet(),
        "vae": _vae() if vae else None,
        "text_encoder": _text_encoder(_tokenizer()) if text else None,
    }


@pytest.fixture(scope="session")
def make_backbone() -> Callable[..., DiffusionBackbone]:
    """make_backbone(text=False, vae=False, seed=0, **config fields): the same weights for the same seed.

    Each is a copy: drawing the weights takes longer than most tests.
    """
    drawn: dict[tuple, tuple] = {}

    def make(*, text: bool = False, vae: bool = False, seed: int = 0, **config) -> DiffusionBackbone:
        key = (text, vae, seed)
        if key not in drawn:
            torch.manual_seed(seed)
            drawn[key] = (copies_of(_models(text, vae)), torch.get_rng_state())
        copy, state = drawn[key]
        torch.set_rng_state(state)  # as after drawing: what a test draws then is the same each time
        tokenizer = _tokenizer() if text else None  # a copy of one decodes otherwise
        return DiffusionBackbone(**copy(), tokenizer=tokenizer, config=BackboneConfig(**config))

    return make


@pytest.fixture
def inputs() -> tuple[torch.Tensor, torch.Tensor]:
    """Latents (2, 4, 16, 16) and a context (2, 7, 64)."""
    generator = torch.Generator().manual_seed(1)
    return torch.randn(2, 4, 16, 16, generator=generator), torch.randn(2, 7, CONTEXT_WIDTH, generator=generator)
