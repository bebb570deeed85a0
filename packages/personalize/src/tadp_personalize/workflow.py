"""What both methods do around the training loop: read, encode, measure, train, measure again, write."""

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Protocol

import torch
from accelerate import Accelerator
from PIL import Image
from torch import nn

from tadp_personalize.base import Base, frozen, load_base
from tadp_personalize.batches import Batches, Source, token_ids
from tadp_personalize.card import Card, write_card
from tadp_personalize.config import TrainingConfig
from tadp_personalize.held_out import HeldOutLoss
from tadp_personalize.images import ImageReport, ImageSource, read_images
from tadp_personalize.latents import ImageLatents
from tadp_personalize.loop import Outcome, Progress, make_accelerator, train
from tadp_personalize.objective import DenoisingLoss
from tadp_personalize.prompts import fill, plain
from tadp_personalize.result import Personalization
from tadp_personalize.samples import write_sheet
from tadp_personalize.tokens import expand_prompt

DTYPES = {"no": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class Learner(Protocol):
    """What trains and what is saved; the only thing in which the methods differ."""

    method: str
    objective: DenoisingLoss
    trained: dict[str, nn.Parameter]

    def save(self, folder: Path) -> Path:
        """Write the learnt weights; return what diffusers loads."""

    def usage(self, path: Path, prompt: str) -> str:
        """Return the lines that load the file at `path` and draw `prompt`."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One run, as the caller asks for it."""

    base: Any
    images: ImageSource | Iterable[ImageSource]
    token: str
    word: str
    """Ordinary word near to the look: where the token starts from, or what it is compared with."""
    config: TrainingConfig
    out: str | PathLike
    held_out: ImageSource | Iterable[ImageSource] | None
    progress: Progress | None
    resume: bool
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
    pictures, report = read_images(request.images, size=base.image_size)
    unseen = _held_out_images(request, base, pictures)
    accelerator = make_accelerator(config)
    with frozen(base, checkpointing=config.gradient_checkpointing):
        for module in base.modules():
            module.to(accelerator.device)
        extra = more_sources(base)
        with make_learner(base) as learner:
            judge = _judge(request, base, unseen)
            before = _measured(accelerator, judge, learner, base)
            outcome = _train(request, accelerator, base, learner, pictures, report, extra)
            after = _measured(accelerator, judge, learner, base) if outcome.finished else None
            path = None
            if outcome.finished and accelerator.is_main_process:
                path = learner.save(folder)
                if config.sample_every:
                    _sheet(request, base, folder / "samples" / "final.png")
    result = Personalization(
        folder=folder,
        path=path,
        token=request.token,
        finished=outcome.finished,
        steps=outcome.steps,
        trained_parameters=sum(p.numel() for p in learner.trained.values()),
        images=report,
        before=before,
        after=after,
    )
    if path:
        card = Card(
            method=learner.method,
            word=request.word,
            base=base,
            config=config,
            usage=learner.usage(path, fill(config.templates[0], request.token)),
            held_out=judge.as_dict() if judge else None,
            seconds=time.perf_counter() - began,
        )
        write_card(card, result)
    return result


def image_source(
    name: str, base: Base, pictures: list[Image.Image], prompts: list[str], config: TrainingConfig, weight: float = 1.0
) -> Source:
    """Return pictures and prompts, ready to be drawn from."""
    latents = ImageLatents(
        pictures, base.vae, size=base.image_size, flip=config.flip, crop=config.crop, cache=config.cache_latents
    )
    ids = token_ids(base.tokenizer, [expand_prompt(prompt, base.tokenizer) for prompt in prompts])
    return Source(name=name, latents=latents, prompts=ids, weight=weight)


def _train(
    request: Request,
    accelerator: Accelerator,
    base: Base,
    learner: Learner,
    pictures: list[Image.Image],
    report: ImageReport,
    extra: tuple[Source, ...],
) -> Outcome:
    config, folder = request.config, Path(request.out)
    prompts = [fill(template, request.token) for template in config.templates]
    batches = Batches(
        sources=(image_source("images", base, pictures, prompts, config), *extra),
        batch_size=config.batch_size,
        timesteps=learner.objective.schedule.config.num_train_timesteps,
        stratified=config.stratified,
        seed=config.seed,
    )

    def on_sample(step: int) -> None:
        if accelerator.is_main_process:
            _sheet(request, base, folder / "samples" / f"step-{step:06d}.png")

    return train(
        accelerator=accelerator,
        objective=learner.objective,
        trained=learner.trained,
        batches=batches,
        config=config,
        folder=folder,
        identity={"method": learner.method, "token": request.token, "base": base.identity, "images": report.sha256},
        resume=request.resume,
        progress=request.progress,
        on_sample=on_sample,
    )


def _held_out_images(request: Request, base: Base, pictures: list[Image.Image]) -> list[Image.Image]:
    """Return the held-out images, without those that are trained on; none given is none, none left is an error."""
    if request.held_out is None:
        return []
    return read_images(request.held_out, size=base.image_size, least=1, known=pictures)[0]


def _judge(request: Request, base: Base, unseen: list[Image.Image]) -> HeldOutLoss | None:
    if not unseen:
        return None
    latents = ImageLatents(unseen, base.vae, size=base.image_size, flip=0.0, crop="center", cache=False)
    return HeldOutLoss.build(
        latents=latents.modes(),
        templates=request.config.templates,
        token=request.token,
        word=request.word,
        count=request.config.held_out_timesteps,
        train_timesteps=base.noise_schedule().config.num_train_timesteps,
        seed=request.config.seed,
    )


def _measured(
    accelerator: Accelerator, judge: HeldOutLoss | None, learner: Learner, base: Base
) -> dict[str, float] | None:
    with accelerator.autocast():  # the precision of training, before and after
        return judge(learner.objective, base.tokenizer) if judge else None


def _sheet(request: Request, base: Base, path: Path) -> None:
    template = request.config.templates[0]
    prompts = [plain(template), fill(template, request.word), fill(template, request.token)]
    write_sheet(path, base, prompts, seed=request.config.seed)
