"""Command line of the pre-training: every stage resumes where it stopped."""

import argparse
import logging
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import Blip2ForConditionalGeneration, Blip2Processor, CLIPTextModel

from pretrain.captioner import train_captioner
from pretrain.corpus import Corpus, render_chunk
from pretrain.encoder import train_encoder
from pretrain.export import export_captioner, export_pipeline
from pretrain.loop import LoopConfig, averaged_weights
from pretrain.tagger import export_tagger, train_tagger
from pretrain.tokenizers import build_clip_tokenizer
from pretrain.unet import train_unet
from pretrain.vae import reconstruction_db, train_vae
from tadp_backbone.registry import TINY_FOLDER
from tadp_captioning.prompts.nouns import TAGGER_FILE

log = logging.getLogger("tadp.pretrain")

HELD_OUT_SEED = 77
VAE = LoopConfig(steps=2000, batch_size=16, lr=2e-3, warmup=50, ema=0.995, save_every=100)
UNET = LoopConfig(steps=6000, batch_size=48, lr=1e-3, save_every=100)
_ANY_ORDER = LoopConfig(steps=800, batch_size=48, lr=8e-4, warmup=50, ema=0.995, save_every=100, seed=7)
ANY_ORDER = (_ANY_ORDER, replace(_ANY_ORDER, steps=1600, seed=8))
"""Each continues from the weights before it, with sentences in any order and scenes of its own."""
ENCODER = LoopConfig(steps=1000, batch_size=16, lr=2e-3, warmup=50, ema=0.995, save_every=200)
_CAPTIONER = LoopConfig(steps=0, batch_size=32, lr=1e-3, warmup=100, weight_decay=0.05, save_every=250, log_every=50)
CAPTIONER = (
    (replace(_CAPTIONER, steps=6000), replace(_CAPTIONER, steps=4000)),
    (replace(_CAPTIONER, steps=5000, seed=10), replace(_CAPTIONER, steps=1500, seed=10)),
)
"""(vision tower, whole captioner); each round continues from the weights before it, with scenes of its own."""


def main() -> None:
    arguments = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    corpus = Corpus(arguments.seed + 1)
    if "vae" in arguments.stages:
        _vae(corpus, arguments)
    if "encoder" in arguments.stages:
        _encoder(corpus, arguments)
    if "backbone" in arguments.stages:
        _backbone(corpus, arguments)
    if "captioner" in arguments.stages:
        _captioner(arguments)
    if "tagger" in arguments.stages:
        export_tagger(train_tagger(arguments.seed), arguments.out / TAGGER_FILE)
        log.info("tagger written to %s", arguments.out / TAGGER_FILE)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"), help="where states and logs go")
    parser.add_argument(
        "--stages",
        nargs="+",
        default=["vae", "encoder", "backbone", "captioner"],
        choices=["vae", "encoder", "backbone", "captioner", "tagger"],
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grounding", type=float, default=0.5, help="weight of the grounding loss; 0 for the ablation")
    parser.add_argument("--stop", type=int, help=f"end the UNet for good after so many of its {UNET.steps} steps")
    return parser.parse_args()


def _vae(corpus: Corpus, arguments: argparse.Namespace) -> None:
    vae = train_vae(corpus, replace(VAE, seed=arguments.seed), arguments.out / "vae")
    vae.save_pretrained(arguments.out / "vae" / "trained")
    unseen = render_chunk(HELD_OUT_SEED, 0, 80)
    for domain, db in reconstruction_db(vae, unseen).items():
        log.info("vae: %s %.1f dB", domain, db)


def _trained_vae(arguments: argparse.Namespace) -> AutoencoderKL:
    """The VAE of this `--out`, or the shipped one."""
    trained = arguments.out / "vae" / "trained"
    return AutoencoderKL.from_pretrained(trained if trained.is_dir() else TINY_FOLDER / "vae").float()


def _encoder(corpus: Corpus, arguments: argparse.Namespace) -> None:
    vae = _trained_vae(arguments)
    folder = arguments.out / "encoder"
    config = replace(ENCODER, seed=arguments.seed)
    train_encoder(corpus, vae, config, folder, lambda model: model.half().save_pretrained(folder / "trained"))


def _backbone(corpus: Corpus, arguments: argparse.Namespace) -> None:
    vae = _trained_vae(arguments)
    tokenizer = build_clip_tokenizer()
    folder = arguments.out / f"unet-grounding-{arguments.grounding:g}"
    first = replace(UNET, seed=arguments.seed, stop=arguments.stop)

    def export(unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        export_pipeline(vae, unet, text_encoder, tokenizer, folder / "pipeline")
        log.info("pipeline written to %s", folder / "pipeline")

    train_unet(corpus, vae, tokenizer, first, folder, arguments.grounding, export)
    if arguments.stop is not None:
        return
    done = folder
    for part in ANY_ORDER:
        config = replace(part, seed=arguments.seed + part.seed)
        start, done = averaged_weights(done), folder / f"any-order-{part.seed}"
        train_unet(Corpus(config.seed + 1), vae, tokenizer, config, done, arguments.grounding, export, start)


def _captioner(arguments: argparse.Namespace) -> None:
    exported = arguments.out / "captioner" / "captioner"

    def export(model: Blip2ForConditionalGeneration, processor: Blip2Processor) -> None:
        export_captioner(model, processor, exported)
        log.info("captioner written to %s", exported)

    start = None
    for number, parts in enumerate(CAPTIONER, start=1):
        tower, whole = (replace(config, seed=arguments.seed + config.seed) for config in parts)
        folder = arguments.out / "captioner" / f"round-{number}"
        train_captioner(Corpus(whole.seed + 1), tower, whole, folder, export, start)
        start = averaged_weights(folder)


if __name__ == "__main__":
    main()
