"""Stable Diffusion 1 in narrow: its topology, strides, prompt lengths and vocabulary, with random weights."""

import gzip
from importlib.metadata import files
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tadp_backbone import DiffusionBackbone

CONTEXT_WIDTH = 32
_MERGES = 49152 - 256 - 2
"""CLIP's own; its file lists more of them."""


def clip_tokenizer() -> CLIPTokenizer:
    """CLIP's, with its vocabulary of 49408 tokens out of open_clip_torch's files; the package is not imported."""
    (file,) = (f for f in files("open_clip_torch") if f.name == "bpe_simple_vocab_16e6.txt.gz")
    lines = gzip.decompress(Path(file.locate()).read_bytes()).decode("utf-8").splitlines()[1 : 1 + _MERGES]
    merges = [tuple(line.split()) for line in lines]
    symbols = _byte_symbols()
    tokens = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *(first + second for first, second in merges)]
    vocabulary = {token: index for index, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=77)


def _byte_symbols() -> list[str]:
    """A printable character for each byte, in the order in which CLIP numbers them."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(256 + index) for index in range(len(others))]


def narrow_stable_diffusion(seed: int = 0) -> DiffusionBackbone:
    """Four levels of the UNet at strides 8 to 64, a VAE of factor 8, contexts of 77 tokens."""
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    unet = UNet2DConditionModel(
        sample_size=64,
        block_out_channels=(8, 16, 16, 16),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        norm_num_groups=4,
        cross_attention_dim=CONTEXT_WIDTH,
        attention_head_dim=1,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=512,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=CONTEXT_WIDTH,
            intermediate_size=64,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return DiffusionBackbone(unet=unet, vae=vae, text_encoder=text_encoder, tokenizer=tokenizer)
