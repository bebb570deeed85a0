"""How the files beside this script were made, by the code of commit 366d7f5, before the packages were restructured.

They stand for what users have on their disks, and are not made again: later code reads them (test_first_layout.py).
`make.py FOLDER` writes them into a new folder, whose path is then called /first_layout in all of them.
"""

import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer
from typer.testing import CliRunner

from tadp_backbone import BackboneConfig
from tadp_cli.main import app
from tadp_heads.data.scenes.write import write_scenes

PLACE = "/first_layout"
WORDS = ("watercolor", "painting", "circle", "square", "red", "blue", "and", "a", "in", "the", "of")


def main(folder: Path) -> None:
    folder = folder.resolve()
    folder.mkdir(parents=True)
    scenes = {"task": "segmentation", "domain": "photo", "seed": 0, "size": 32}
    for split, first, count in (("train", 0, 4), ("val", 4, 2)):
        write_scenes(folder / "photos", split=split, first=first, count=count, **scenes)
    for file in (*(folder / "photos").glob("scenes_*"), *(folder / "photos").glob("captions_*")):
        file.unlink()
    backbone(folder / "backbone")
    tadp("caption", folder / "photos", "--captioner", "tiny", "--out", folder / "captions.jsonl")
    learn = ("personalize", "--domain", "watercolor", "--backbone", folder / "backbone", "--images", folder / "photos")
    short = ("--steps", 2, "--set", "batch_size=1", "--set", "warmup=0", "--captioner", "none")
    tadp(*learn, "--out", folder / "token", *short)
    tadp(*learn, "--out", folder / "lora", "--method", "dreambooth", "--rank", 1, *short)
    train(folder)
    for unneeded in (folder / "token" / "state", folder / "lora" / "state"):
        shutil.rmtree(unneeded)
    (folder / "run" / "state" / "step_00000003.pt").unlink()  # it resumes after step 2
    for file in folder.rglob("*"):
        if file.suffix in (".json", ".jsonl", ".toml", ".md"):
            text = file.read_text(encoding="utf-8")
            file.write_text(text.replace(str(folder), PLACE), encoding="utf-8")


def train(folder: Path) -> None:
    """Three steps of a narrow head and of the UNet's up blocks, prompts with the learned token."""
    settings = (
        *("train.steps=3", "train.batch_size=2", "train.save_every=2", "train.keep=2", "train.unet_lr_scale=1"),
        *('train.freeze=["unet.down_blocks.*","unet.mid_block.*"]', "train.warmup=1", "train.lr=1e-3"),
        *("head.variant=ade", "head.width=4", f"backbone.source={folder / 'backbone'}", "data.captioner=tiny"),
        *("prompt.modifier=textual-inversion", "prompt.domain=watercolor"),
        f"prompt.token_file={folder / 'token' / 'learned_embeds.safetensors'}",
    )
    options = [word for setting in settings for word in ("--set", setting)]
    data = ("--data", folder / "photos", "--captions", folder / "captions.jsonl")
    tadp("train", "scenes-segmentation", *data, "--out", folder / "run", *options)


def tadp(*arguments: object) -> None:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    if result.exit_code:
        raise RuntimeError(result.output) from result.exception


def backbone(folder: Path) -> None:
    """Stable Diffusion's classes with two levels at strides 4 and 8, 8 channels and 16 tokens, random weights."""
    torch.manual_seed(0)
    words = tokenizer()
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 8),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=8,
        attention_head_dim=4,
        norm_num_groups=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(4, 4, 4),
        down_block_types=("DownEncoderBlock2D",) * 3,
        up_block_types=("UpDecoderBlock2D",) * 3,
        norm_num_groups=2,
        sample_size=32,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(words),
            hidden_size=8,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=16,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    noise = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
    scheduler = DDIMScheduler(**noise, clip_sample=False, steps_offset=1)
    StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=words,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    ).save_pretrained(folder)
    config = BackboneConfig(map_strides=(4,), num_tokens=16)
    (folder / "config.json").write_text(json.dumps(asdict(config)), encoding="utf-8")


def tokenizer() -> CLIPTokenizer:
    """Single letters and a few whole words."""
    letters = [chr(code) for code in range(33, 127) if not chr(code).isupper()]
    vocabulary = [*letters, *(f"{letter}</w>" for letter in letters)]
    merges: list[tuple[str, str]] = []
    for word in WORDS:
        left = word[0] if len(word) > 1 else f"{word}</w>"
        for i, letter in enumerate(word[1:], start=2):
            right = letter if i < len(word) else f"{letter}</w>"
            if (left, right) not in merges:
                merges.append((left, right))
                vocabulary.append(left + right)
            left += right
    tokens = list(dict.fromkeys([*vocabulary, "<|startoftext|>", "<|endoftext|>"]))
    return CLIPTokenizer(vocab={token: i for i, token in enumerate(tokens)}, merges=merges, model_max_length=16)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
