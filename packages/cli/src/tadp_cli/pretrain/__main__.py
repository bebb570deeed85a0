"""Command line of the pre-training: every stage goes on where it was stopped."""

import argparse
import logging
import os
from dataclasses import replace
from pathlib import Path

import torch

from tadp_captioning.nouns import TAGGER_FILE
from tadp_cli.pretrain.captioner import train_captioner
from tadp_cli.pretrain.corpus import Corpus, make_corpus
from tadp_cli.pretrain.export import export_captioner, export_pipeline
from tadp_cli.pretrain.loop import LoopConfig
from tadp_cli.pretrain.tagger import export_tagger, train_tagger
from tadp_cli.pretrain.tokenizers import build_clip_tokenizer
from tadp_cli.pretrain.unet import train_unet
from tadp_cli.pretrain.vae import encode_all, train_vae

log = logging.getLogger("tadp.pretrain")

CORPUS_SIZE = 32_000
VAE = LoopConfig(steps=800, batch_size=16, lr=1.5e-3, warmup=50, ema=0.995, save_every=100)
UNET = LoopConfig(steps=1800, batch_size=48, lr=1e-3, save_every=100)
TOWER = LoopConfig(steps=9000, batch_size=16, lr=1e-3, warmup=100, weight_decay=0.05, save_every=500, log_every=100)
CAPTIONER = LoopConfig(steps=8000, batch_size=16, lr=1e-3, warmup=100, weight_decay=0.05, save_every=500, log_every=50)


def main() -> None:
    arguments = _parse()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.manual_seed(arguments.seed)
    if set(arguments.stages) & {"backbone", "captioner"}:
        corpus = make_corpus(arguments.out / "corpus", CORPUS_SIZE, seed=arguments.seed + 1)
        log.info("corpus: %d images", len(corpus.images))
    if "backbone" in arguments.stages:
        _backbone(corpus, arguments)
    if "captioner" in arguments.stages:
        folder = arguments.out / "captioner"
        configs = (replace(config, seed=arguments.seed) for config in (TOWER, CAPTIONER))
        export_captioner(*train_captioner(corpus, *configs, folder), folder / "captioner")
        log.info("captioner written to %s", folder / "captioner")
    if "tagger" in arguments.stages:
        export_tagger(train_tagger(arguments.seed), arguments.out / TAGGER_FILE)
        log.info("tagger written to %s", arguments.out / TAGGER_FILE)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tadp_cli.pretrain", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/pretrain"), help="where states and logs go")
    parser.add_argument(
        "--stages", nargs="+", default=["backbone", "captioner"], choices=["backbone", "captioner", "tagger"]
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--grounding", type=float, default=0.5, help="weight of the grounding loss; 0 for the ablation")
    parser.add_argument("--stop", type=int, help=f"end the UNet after so many of its {UNET.steps} steps")
    return parser.parse_args()


def _backbone(corpus: Corpus, arguments: argparse.Namespace) -> None:
    vae = train_vae(corpus, replace(VAE, seed=arguments.seed), arguments.out / "vae")
    log.info("vae: scaling factor %.4f", vae.config.scaling_factor)
    latents_path = arguments.out / "latents.pt"
    if not latents_path.is_file():
        torch.save(encode_all(vae, corpus.images), latents_path.with_suffix(".tmp"))
        os.replace(latents_path.with_suffix(".tmp"), latents_path)
    latents = torch.load(latents_path, weights_only=True) * vae.config.scaling_factor
    tokenizer = build_clip_tokenizer()
    folder = arguments.out / f"unet-grounding-{arguments.grounding:g}"
    config = replace(UNET, seed=arguments.seed, stop=arguments.stop)
    unet, text_encoder = train_unet(corpus, latents, tokenizer, config, folder, arguments.grounding)
    export_pipeline(vae, unet, text_encoder, tokenizer, folder / "pipeline")
    log.info("pipeline written to %s", folder / "pipeline")


if __name__ == "__main__":
    main()
