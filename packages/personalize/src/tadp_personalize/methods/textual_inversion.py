"""Textual Inversion (Gal et al. 2022): a few images become a word, and nothing else in the model changes."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from typing import Any

from tadp_personalize.card import usage_of_token
from tadp_personalize.config import TextualInversionConfig
from tadp_personalize.data.images import ImageSource
from tadp_personalize.data.training_images import Captioner
from tadp_personalize.io.pipeline_parts import Base
from tadp_personalize.io.tokens import EMBEDDINGS_FILE, LearnedRows, add_token, check_token, initial_rows, save_token
from tadp_personalize.result import Personalization
from tadp_personalize.run import Request, run
from tadp_personalize.training.loop import Progress
from tadp_personalize.training.loss import DenoisingLoss
from tadp_personalize.training.precision import in_float32

_PAPER = TextualInversionConfig()


@in_float32()
def textual_inversion(
    base: Any,
    images: ImageSource | Iterable[ImageSource],
    *,
    token: str = "<watercolor>",
    initializer: str = "watercolor",
    config: TextualInversionConfig = _PAPER,
    out: str | PathLike,
    held_out: ImageSource | Iterable[ImageSource] | None = None,
    captioner: Captioner | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> Personalization:
    """Learn `token` from `images` and write learned_embeds.safetensors with its card into the folder `out`.

    `base` is a diffusers folder, a hub id, or a built StableDiffusionPipeline (or anything with its parts as
    attributes), which stays unchanged. `images` and `held_out` are a folder, or paths and PIL images; at least 3 usable
    ones to learn from. The token starts from the embedding of `initializer`. `progress(step, steps, loss)` is called
    after each update. `captioner(images)` says what each image shows, for templates with {caption}. With `resume`, a
    run in `out` resumes from its last state; without, it starts again. Gal et al. 2022; the paper's settings are those
    of Table S4d. ValueError for too few usable images, and for a token that is several words or known already.
    """

    request = Request(
        base=base,
        images=images,
        token=token,
        word=initializer,
        config=config,
        out=out,
        held_out=held_out,
        captioner=captioner,
        progress=progress,
        resume=resume,
        copied=("text_encoder",),
    )
    return run(request, lambda parts: token_learner(parts, token, initializer, config.vectors))


@contextmanager
def token_learner(base: Base, token: str, initializer: str, vectors: int) -> Iterator["TokenLearner"]:
    """Add the token to the base's tokenizer and text encoder; within, its rows are the learner's parameters."""
    check_token(base.tokenizer, token)
    rows = initial_rows(base.tokenizer, base.text_encoder, initializer, vectors)
    ids = add_token(base.tokenizer, base.text_encoder, token, rows)
    base.text_encoder.requires_grad_(False)  # adding rows made a new embedding
    learned = LearnedRows(rows, ids).to(base.device)
    with learned.in_place_of(base.text_encoder.get_input_embeddings()):
        yield TokenLearner(base, token, learned)


class TokenLearner:
    """Trains the token's rows; saves them as a learned embedding."""

    method = "textual-inversion"

    def __init__(self, base: Base, token: str, learned: LearnedRows) -> None:
        self.base, self.token, self.learned = base, token, learned
        self.objective = DenoisingLoss(base.unet, base.text_encoder, base.noise_schedule())
        self.objective.add_module("learnt", learned)  # part of what is wrapped for several processes
        self.trained = {"rows": learned.rows}

    def save(self, folder: Path) -> Path:
        """Write learned_embeds.safetensors."""
        path = folder / EMBEDDINGS_FILE
        save_token(path, self.token, self.learned.rows, self.base.identity)
        return path

    def usage(self, path: Path, prompt: str) -> str:
        """Return the lines that load the token."""
        return usage_of_token(path, prompt)
