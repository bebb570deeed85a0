"""DreamBooth (Ruiz et al. 2022): the UNet, or low-rank updates of it, learns the domain that a rare word names."""

from collections.abc import Iterable
from contextlib import nullcontext
from os import PathLike
from pathlib import Path
from typing import Any

from torch import nn

from tadp_personalize._io import replacing_folder
from tadp_personalize.card import usage_of_lora, usage_of_pipeline
from tadp_personalize.config import DreamBoothConfig, LoraConfig
from tadp_personalize.data.images import ImageSource
from tadp_personalize.data.training_images import Captioner
from tadp_personalize.io.pipeline_parts import Base
from tadp_personalize.lora import LORA_FILE, add_lora, save_lora
from tadp_personalize.result import Personalization
from tadp_personalize.run import Request, image_source, run
from tadp_personalize.training.loop import Progress
from tadp_personalize.training.loss import DenoisingLoss
from tadp_personalize.training.precision import in_float32
from tadp_personalize.training.prior_preservation import class_images
from tadp_personalize.training.sampler import Source

PIPELINE_FOLDER = "pipeline"

_PAPER = DreamBoothConfig()


@in_float32()
def dreambooth(
    base: Any,
    images: ImageSource | Iterable[ImageSource],
    *,
    token: str = "sks",
    initializer: str = "watercolor",
    config: DreamBoothConfig = _PAPER,
    out: str | PathLike,
    held_out: ImageSource | Iterable[ImageSource] | None = None,
    captioner: Captioner | None = None,
    progress: Progress | None = None,
    resume: bool = False,
) -> Personalization:
    """Tune `base` so that the rare word `token` names the domain of `images`; write the result into folder `out`.

    With `config.lora` that is pytorch_lora_weights.safetensors, without it a whole pipeline in the folder `pipeline`.
    `initializer` is the ordinary word that the token is compared with on the held-out images. The other arguments are
    those of `textual_inversion`. Ruiz et al. 2022; the paper's settings are those of Table S4c. ValueError for too few
    usable images, and for a token of several words.
    """
    if len(token.split()) != 1:
        raise ValueError(f"token {token!r} must be one word without spaces, for example 'sks'")

    def prior(parts: Base) -> tuple[Source, ...]:
        if not config.class_images:
            return ()
        folder = Path(out) / "class_images"
        drawn = class_images(folder, parts, config.class_prompt, config.class_images, seed=config.seed)
        return (image_source("class images", parts, drawn, [[config.class_prompt]], config, config.prior_weight),)

    changed = ("unet", "text_encoder") if config.train_text_encoder else ("unet",)
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
        full_precision=changed if config.lora is None else (),
        copied=changed,
    )
    return run(request, lambda parts: nullcontext(tuning_learner(parts, config)), prior)


def tuning_learner(base: Base, config: DreamBoothConfig) -> "FullLearner | LoraLearner":
    """Make trainable what the settings say."""
    return FullLearner(base, config) if config.lora is None else LoraLearner(base, config, config.lora)


class FullLearner:
    """Trains every weight of the UNet (and of the text encoder); saves a whole pipeline."""

    method = "dreambooth"

    def __init__(self, base: Base, config: DreamBoothConfig) -> None:
        self.base = base
        self.objective = DenoisingLoss(base.unet, base.text_encoder, base.noise_schedule())
        self.trained: dict[str, nn.Parameter] = {}
        layers = {"unet": config.unet_layers} | ({"text_encoder": None} if config.train_text_encoder else {})
        for part, endings in layers.items():
            self.trained |= _prefixed(part, _parameters_of(getattr(base, part), endings))
        for parameter in self.trained.values():
            parameter.requires_grad_(True)

    def save(self, folder: Path) -> Path:
        """Write the pipeline."""
        path = folder / PIPELINE_FOLDER
        with replacing_folder(path) as partial:
            self.base.pipeline().save_pretrained(partial)
        return path

    def usage(self, path: Path, prompt: str) -> str:
        """Return the lines that load the pipeline."""
        return usage_of_pipeline(path, prompt)


class LoraLearner:
    """Trains low-rank updates of the UNet (and of the text encoder); saves them alone."""

    method = "dreambooth-lora"

    def __init__(self, base: Base, config: DreamBoothConfig, lora: LoraConfig) -> None:
        self.base, self.tuned_text = base, base.text_encoder if config.train_text_encoder else None
        self.trained = _prefixed("unet", add_lora(base.unet, lora.unet_targets, lora, seed=config.seed))
        if self.tuned_text is not None:
            added = add_lora(self.tuned_text, lora.text_targets, lora, seed=config.seed)
            self.trained |= _prefixed("text_encoder", added)
        self.objective = DenoisingLoss(base.unet, base.text_encoder, base.noise_schedule())

    def save(self, folder: Path) -> Path:
        """Write pytorch_lora_weights.safetensors."""
        path = folder / LORA_FILE
        save_lora(path, self.base.unet, self.tuned_text, self.base.identity)
        return path

    def usage(self, path: Path, prompt: str) -> str:
        """Return the lines that load the LoRA."""
        return usage_of_lora(path, prompt)


def _parameters_of(module: nn.Module, endings: tuple[str, ...] | None) -> dict[str, nn.Parameter]:
    """Return the parameters, by name, of the layers whose names end so; None: of all."""
    if endings is None:
        return dict(module.named_parameters())
    found = {n: p for n, p in module.named_parameters() if n.rpartition(".")[0].endswith(endings)}
    if not found:
        raise ValueError(f"no layer's name in {type(module).__name__} ends with {', '.join(endings)}; choose others")
    return found


def _prefixed(prefix: str, parameters: dict[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    return {f"{prefix}.{name}": parameter for name, parameter in parameters.items()}
