"""Stable Diffusion XL in narrow: its topology, two text encoders and a pooled embedding, with random weights."""

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_backbone.registry import TINY_FOLDER

POOLED = 24


def _text(tokenizer, width, **more) -> CLIPTextConfig:
    return CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=3,
        num_attention_heads=2,
        max_position_embeddings=77,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        **more,
    )


def narrow_sdxl(seed: int = 0, **config) -> DiffusionBackbone:
    """Three levels at strides 8, 16 and 32, a VAE of factor 8; the tiny model's tokenizer."""
    torch.manual_seed(seed)
    first, second = (CLIPTokenizer.from_pretrained(TINY_FOLDER / "tokenizer") for _ in range(2))
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 16),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 1, 2),
        norm_num_groups=4,
        attention_head_dim=(1, 2, 2),
        cross_attention_dim=40,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + POOLED,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        sample_size=64,
        scaling_factor=0.13025,
    )
    return DiffusionBackbone(
        unet=unet.eval(),
        vae=vae,
        text_encoder=CLIPTextModel(_text(first, 16)),
        tokenizer=first,
        text_encoder_2=CLIPTextModelWithProjection(_text(second, 24, projection_dim=POOLED)),
        tokenizer_2=second,
        config=BackboneConfig(**config),
    )
