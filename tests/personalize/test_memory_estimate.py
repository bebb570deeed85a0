"""Counts at full size, from the real classes without their weights."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from tadp_personalize import DreamBoothConfig, LoraConfig, TextualInversionConfig, estimate


@pytest.fixture(scope="module")
def sd15(make_pipeline):
    toy = make_pipeline()
    with torch.device("meta"):
        unet = UNet2DConditionModel(sample_size=64, cross_attention_dim=768, attention_head_dim=8)
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
        )
        text = CLIPTextConfig(
            vocab_size=49408, hidden_size=768, intermediate_size=3072, num_hidden_layers=12, num_attention_heads=12
        )
        text_encoder = CLIPTextModel(text)
    return SimpleNamespace(
        unet=unet, vae=vae, text_encoder=text_encoder, tokenizer=toy.tokenizer, scheduler=toy.scheduler
    )


@pytest.mark.parametrize("vectors", [1, 5])
def test_textual_inversion_trains_768_numbers_a_vector(sd15, vectors):
    got = estimate(sd15, TextualInversionConfig(vectors=vectors))
    assert got.trained == 768 * vectors
    assert got.optimizer == 8 * 768 * vectors


def test_dreambooth_trains_the_unet(sd15):
    got = estimate(sd15, DreamBoothConfig())
    assert got.trained == 859_520_964  # the UNet of Stable Diffusion 1.5
    assert got.weights == 4 * (got.trained + got.frozen)
    lighter = estimate(sd15, DreamBoothConfig(gradient_checkpointing=True, adam_8bit=True))
    assert lighter.activations < got.activations / 4
    assert lighter.optimizer == got.optimizer / 4
    assert "859,520,964" in str(got)
    # Of the five layers at 64 x 64 cells each would have one matrix of all queries and keys, in float32.
    assert got.activations < 5 * (4 * 8 * 4096**2)


@pytest.mark.parametrize("rank", [4, 8])
def test_lora_trains_rank_times_inputs_and_outputs(sd15, rank):
    widths = [320] * 5 + [640] * 5 + [1280] * 6  # attention blocks: 2 down and 3 up a stride, one in the middle
    per_rank = sum(12 * w + 2 * (768 + w) for w in widths)  # self: q k v out; cross: q out from w, k v from 768
    assert estimate(sd15, DreamBoothConfig(lora=LoraConfig(rank=rank))).trained == rank * per_rank


def test_a_folder_is_counted_without_loading_it(folder):
    got = estimate(str(folder), TextualInversionConfig(mixed_precision="bf16", vectors=2))
    assert got.trained == 2 * 16
    assert got.weights == 2 * got.frozen + 4 * got.trained
    assert got.activations > 0
