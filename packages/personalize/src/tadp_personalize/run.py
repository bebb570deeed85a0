"""What both methods do around the training loop: read, encode, measure, train, measure again, write."""

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

from tadp_personalize.card import Card, write_card
from tadp_personalize.config import TrainingConfig
from tadp_personalize.data.images import ImageSource
from tadp_personalize.data.training_images import Captioned, Captioner, Material, gather
from tadp_personalize.held_out import HeldOutLoss
from tadp_personalize.io.pipeline_parts import Base, frozen, load_base
from tadp_personalize.io.tokens import expand_prompt
from tadp_personalize.prompts import fill, plain
from tadp_personalize.result import Personalization
from tadp_personalize.samples import write_images, write_sheet
from tadp_personalize.training.latents import ImageLatents
from tadp_personalize.training.loop import Outcome, Progress, make_accelerator, train
from tadp_personalize.training.loss import DenoisingLoss
from tadp_personalize.training.sampler import Batches, Source, token_ids
from tadp_personalize.training.trackers import Trackers

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Learner(Protocol):
    """What trains and what is saved; the only thing in which the methods differ."""

    method: str
    objective: DenoisingLoss
    trained: dict[str, nn.Parameter]

    def save(self, folder: Path) -> Path:
        """Write the learned weights; return what diffusers loads."""

    def usage(self, path: Path, prompt: str) -> str:
        """Return the lines that load the file at `path` and draw `prompt`."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run, as the caller asks for it."""

    base: Any
    images: ImageSource | Iterable[ImageSource]
    token: str
    word: str
    """Ordinary word close to the domain: the token's initialisation, or what it is compared with."""
    config: TrainingConfig
    out: str | PathLike
    held_out: ImageSource | Iterable[ImageSource] | None
    progress: Progress | None
    resume: bool
    captioner: Captioner | None
    """Says what each image shows, where the templates have a place for it."""
    full_precision: tuple[str, ...] = ()
    """Networks of a folder that are loaded in float32 whatever the precision."""
    copied: tuple[str, ...] = ()
    """Networks of a built pipeline that are changed, so a copy is worked on."""


MakeLearner = Callable[[Base], AbstractContextManager[Learner]]
MoreSources = Callable[[Base], tuple[Source, ...]]


def run(request: Request, make_learner: MakeLearner, more_sources: MoreSources = lambda base: ()) -> Personalization:
    """Carry out the request; `more_sources(base)` gives further training images, drawn before anything is changed."""
    began, config, folder = time.perf_counter(), request.config, Path(request.out)
    base = load_base(
        request.base,
        dtype=DTYPES[config.mixed_precision],
        full_precision=request.full_precision,
        copied=request.copied,
    )
    material = gather(
        request.images,
        request.held_out,
        size=base.image_size,
        templates=config.templates,
        captioner=request.captioner,
    )
    accelerator = make_accelerator(config)
    trackers = Trackers(config.log_with if accelerator.is_main_process else (), folder, settings=asdict(config))
    with trackers, frozen(base, checkpointing=config.gradient_checkpointing):
        for module in base.modules():
            module.to(accelerator.device)
        extra = more_sources(base)
        with make_learner(base) as learner:
            held_out = _held_out_loss(request, base, material.unseen)
            before = _measured(accelerator, held_out, learner, base)
            outcome = _train(request, accelerator, base, learner, material, extra, trackers)
            after = _measured(accelerator, held_out, learner, base) if outcome.finished else None
            for when, losses in (("before", before), ("after", after)):
                trackers.log(outcome.steps, {f"held_out/{kind}_{when}": loss for kind, loss in (losses or {}).items()})
            path = None
            if outcome.finished and accelerator.is_main_process:
                path = learner.save(folder)
                if config.sample_every:
                    final = _sheet(request, base, material, folder / "samples" / "final.png")
                    trackers.image(outcome.steps, "samples", final)
                    write_images(folder / "images.png", material.training.images, size=base.image_size)
    result = Personalization(
        folder=folder,
        path=path,
        token=request.token,
        finished=outcome.finished,
        steps=outcome.steps,
        trained_parameters=sum(p.numel() for p in learner.trained.values()),
        images=material.report,
        before=before,
        after=after,
    )
    if path:
        card = Card(
            method=learner.method,
            word=request.word,
            base=base,
            config=config,
            captions=dict(zip(material.report.used, material.training.captions, strict=True)),
            file=path.name,
            usage=learner.usage(path, fill(config.templates[0], request.token, material.training.captions[0])),
            held_out=held_out.as_dict() if held_out else None,
            seconds=time.perf_counter() - began,
        )
        write_card(card, result)
    return result


def image_source(
    name: str,
    base: Base,
    images: Sequence[Image.Image],
    prompts: Sequence[Sequence[str]],
    config: TrainingConfig,
    weight: float = 1.0,
) -> Source:
    """Return images and prompts, ready to be drawn from; `prompts` are those of each image, or one list for all."""
    latents = ImageLatents(
        images, base.vae, size=base.image_size, flip=config.flip, crop=config.crop, cache=config.cache_latents
    )
    ids = [token_ids(base.tokenizer, [expand_prompt(prompt, base.tokenizer) for prompt in row]) for row in prompts]
    return Source(name=name, latents=latents, prompts=torch.stack(ids), weight=weight)


def _train(
    request: Request,
    accelerator: Accelerator,
    base: Base,
    learner: Learner,
    material: Material,
    extra: tuple[Source, ...],
    trackers: Trackers,
) -> Outcome:
    config, folder, training = request.config, Path(request.out), material.training
    prompts = [
        [fill(template, request.token, caption) for template in config.templates] for caption in training.captions
    ]
    batches = Batches(
        sources=(image_source("images", base, training.images, prompts, config), *extra),
        batch_size=config.batch_size,
        timesteps=learner.objective.schedule.config.num_train_timesteps,
        stratified=config.stratified,
        seed=config.seed,
    )

    def on_sample(step: int) -> None:
        if accelerator.is_main_process:
            sheet = _sheet(request, base, material, folder / "samples" / f"step-{step:06d}.png")
            trackers.image(step, "samples", sheet)

    return train(
        accelerator=accelerator,
        objective=learner.objective,
        trained=learner.trained,
        batches=batches,
        config=config,
        folder=folder,
        identity={
            "method": learner.method,
            "token": request.token,
            "base": base.identity,
            "images": material.report.sha256,
            "captions": list(training.captions),
        },
        resume=request.resume,
        progress=request.progress,
        on_sample=on_sample,
        trackers=trackers,
    )


def _held_out_loss(request: Request, base: Base, unseen: Captioned) -> HeldOutLoss | None:
    if not unseen.images:
        return None
    latents = ImageLatents(unseen.images, base.vae, size=base.image_size, flip=0.0, crop="center", cache=False)
    return HeldOutLoss.build(
        latents=latents.modes(),
        templates=request.config.templates,
        captions=unseen.captions,
        token=request.token,
        word=request.word,
        count=request.config.held_out_timesteps,
        train_timesteps=base.noise_schedule().config.num_train_timesteps,
        seed=request.config.seed,
    )


def _measured(
    accelerator: Accelerator, held_out: HeldOutLoss | None, learner: Learner, base: Base
) -> dict[str, float] | None:
    with accelerator.autocast():  # the precision of training, before and after
        return held_out(learner.objective, base.tokenizer) if held_out else None


def _sheet(request: Request, base: Base, material: Material, path: Path) -> Image.Image:
    """Draw a sheet of samples into a file; the same as an image."""
    template, caption = request.config.templates[0], material.training.captions[0]
    prompts = [plain(template, caption), fill(template, request.word, caption), fill(template, request.token, caption)]
    with Image.open(write_sheet(path, base, prompts, seed=request.config.seed)) as file:
        return file.convert("RGB")
