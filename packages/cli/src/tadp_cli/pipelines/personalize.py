"""Learning a domain, with the defaults of the domain table filled in."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from diffusers import DDPMScheduler
from PIL import Image
from transformers import CLIPTokenizer

from tadp_backbone.io.hub import locate
from tadp_backbone.registry import BACKBONES, TINY_FOLDER
from tadp_backbone.summary import untrained
from tadp_captioning import Domain, RuleCleaner, find_images, get_domain, load_captioner
from tadp_captioning.domains import DREAMBOOTH_TOKEN
from tadp_cli.device import checked_device
from tadp_cli.inputs.domain_images import drawn
from tadp_cli.run.records import read_object
from tadp_cli.run.run import RESULTS_FILE
from tadp_heads.atomic_files import write_json
from tadp_heads.data.scenes.scene import SCENE_DOMAINS
from tadp_heads.data.scenes.write import write_scenes
from tadp_personalize import Estimate, LoraConfig, Personalization, dreambooth, estimate, preset, textual_inversion
from tadp_personalize.prompts import CAPTION_TEMPLATES, STYLE_TEMPLATES, takes_captions
from tadp_personalize.samples import stack_sheets

METHODS = ("textual-inversion", "dreambooth")
BOTH = "both"
NO_CAPTIONER = "none"
SCENES_SEED = 7
"""Scenes that are neither trained nor evaluated on anywhere else."""
HELD_OUT = 16

_IMAGE_FOLDERS = ("images", "JPEGImages")


def learn(
    *,
    domain: str | Domain,
    images: Path | Sequence[Path] | None,
    held_out: Path | None,
    count: int,
    method: str,
    config: Any,
    backbone: str,
    out: Path,
    resume: bool,
    device: str,
    seed: int,
    progress: Callable[[int, int, float], None],
    captioner: str = "",
    init_word: str = "",
) -> Personalization:
    """Textual Inversion or DreamBooth on `count` of the images (0: on all), or of Scenes where none are given.

    `captioner` says what each image shows, so that only the domain is left to the token; "" is the tiny captioner for
    the tiny backbone and else none, as in the paper. `init_word`: where the token begins; "" for the domain's own.
    `progress(step, steps, loss)` is called after each update.
    """
    target = get_domain(domain)
    if images is None and held_out is not None:
        raise ValueError("--held-out goes with --images; Scenes bring their own")
    checked_device(device)
    if images is None and target.name not in SCENE_DOMAINS:
        raise ValueError(
            f"domain {target.name!r} has no shipped images ({', '.join(SCENE_DOMAINS)} have): "
            "name a folder with --images"
        )
    base = TINY_FOLDER if backbone == "tiny" else locate(backbone)
    config = replace(config, seed=seed, cpu=device == "cpu")
    own_sentences = config.templates != STYLE_TEMPLATES  # such as the one of the paper's DreamBooth
    captioner = captioner or ("tiny" if backbone == "tiny" and not own_sentences else NO_CAPTIONER)
    words: dict[str, Any] = {"initializer": init_word or " ".join(target.initial)}
    if captioner != NO_CAPTIONER:
        if not takes_captions(config.templates):
            config = replace(config, templates=sentences(target))
        words["captioner"] = lambda shown: content_captions(shown, captioner, target, device)
    run: Any = textual_inversion if method == "textual-inversion" else dreambooth
    words["token"] = target.token if method == "textual-inversion" else DREAMBOOTH_TOKEN
    with tempfile.TemporaryDirectory() as scratch:
        if images is None:
            images, held_out = draw_domain(Path(scratch), target.name, count, SCENES_SEED)
            chosen: Path | list[Path] = image_files(images)
        else:
            chosen = drawn(image_files(images) if isinstance(images, Path) else images, count, seed)
        unseen = None if held_out is None else image_files(held_out)
        return run(base, chosen, **words, config=config, out=out, held_out=unseen, progress=progress, resume=resume)


def settings(
    method: str,
    backbone: str,
    preset_name: str = "",
    *,
    steps: int | None = None,
    vectors: int | None = None,
    rank: int | None = None,
) -> Any:
    """The preset's settings with what was given in place of it; without a name the backbone's preset."""
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; choose from {', '.join((*METHODS, BOTH))}")
    if rank is not None and method == "textual-inversion":
        raise ValueError(f"--rank {rank} goes with --method dreambooth or both: textual-inversion trains no LoRA")
    if vectors is not None and method == "dreambooth":
        raise ValueError(
            f"--vectors {vectors} goes with --method textual-inversion or both: dreambooth learns no token"
        )
    # The rate at which all weights of a UNet train is too low for a LoRA's.
    full_size = "paper-table-s4" if rank is None else "lora"
    config = preset(preset_name or ("miniature" if backbone == "tiny" else full_size), method)
    changes: dict[str, Any] = {} if steps is None else {"steps": steps, "warmup": min(config.warmup, steps)}
    if vectors is not None:
        changes["vectors"] = vectors
    if rank is not None:
        changes["lora"] = LoraConfig(rank=rank, alpha=float(rank))
    return replace(config, **changes)


def settings_by_method(
    method: str,
    backbone: str,
    preset_name: str = "",
    *,
    steps: int | None = None,
    vectors: int | None = None,
    rank: int | None = None,
) -> dict[str, Any]:
    """`settings` of each method to run; of both, each takes what is its own."""
    if method != BOTH:
        return {method: settings(method, backbone, preset_name, steps=steps, vectors=vectors, rank=rank)}
    own = {"textual-inversion": {"vectors": vectors}, "dreambooth": {"rank": rank}}
    return {name: settings(name, backbone, preset_name, steps=steps, **own[name]) for name in METHODS}


def dry_run(backbone: str, config: Any) -> Estimate:
    """What a run would train and take. For a name of the table neither weights nor network are needed."""
    entry = BACKBONES.get(backbone)
    if entry is None or entry.folder is not None:
        return estimate(TINY_FOLDER if backbone == "tiny" else locate(backbone), config)
    model = untrained(backbone, device="meta")
    # Of the tokenizer only the length of a text counts here, and that is CLIP's 77 in both.
    tokenizer = CLIPTokenizer.from_pretrained(TINY_FOLDER / "tokenizer", local_files_only=True)
    parts = {"unet": model.unet, "vae": model.vae, "text_encoder": model.text_encoder}
    return estimate(SimpleNamespace(**parts, tokenizer=tokenizer, scheduler=DDPMScheduler()), config)


def sentences(target: Domain) -> tuple[str, ...]:
    """Training templates around captions; the first is the sentence in which the domain's token is used."""
    own = f"[{target.learned.removesuffix(' {caption}')}] {{caption}}"
    return tuple(dict.fromkeys((own, *CAPTION_TEMPLATES)))


def content_captions(images: list[Image.Image], captioner: str, target: Domain, device: str) -> list[str]:
    """What the images show, without words for the domain."""
    model = load_captioner(captioner, device=device)
    captions: list[str] = []
    for start in range(0, len(images), model.batch_size):
        captions += model.caption(images[start : start + model.batch_size])
    return RuleCleaner(target).clean(captions).captions


def image_files(given: Path) -> Path | list[Path]:
    """The folder with a data set's images, a folder itself, or the files that a list or a glob names."""
    if not given.is_dir():
        return list(find_images(given).values())
    return next((given / name for name in _IMAGE_FOLDERS if (given / name).is_dir()), given)


def write_comparison(out: Path, methods: tuple[str, ...]) -> None:
    """The results of several methods in one file next to their folders, and their sample sheets in one image."""
    write_json(out / RESULTS_FILE, {name: read_object(out / name / RESULTS_FILE) for name in methods})
    sheets = [out / methods[0] / "images.png", *(out / name / "samples" / "final.png" for name in methods)]
    if all(sheet.is_file() for sheet in sheets):
        stack_sheets(out / "samples.png", sheets)


def draw_domain(folder: Path, domain: str, count: int, seed: int) -> tuple[Path, Path]:
    """Scenes in a domain: a folder to learn from and a folder to measure by."""
    roots = folder / "learn", folder / "held_out"
    for root, number, first in zip(roots, (count, HELD_OUT), (0, count), strict=True):
        write_scenes(root, task="segmentation", domain=domain, split="all", count=number, seed=seed, first=first)
    return roots
