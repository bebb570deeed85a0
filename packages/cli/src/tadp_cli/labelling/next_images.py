"""Which unlabelled images to label next: those a run is least sure of, and that differ from one another."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from tadp_captioning import Captioner, class_names_prompt
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.user_images import find_user_images, open_user_image
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import AUTO
from tadp_cli.prompts.authors import captioner_of
from tadp_cli.prompts.builder import modified
from tadp_cli.prompts.kind import prompt_kind
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.prompts.tagging.store import FittedTagger, tagger_of
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.class_names import object_names
from tadp_heads.labelling.encoded_image import EncodedImage
from tadp_heads.labelling.selection import disagreement, diverse, entropy

# T tokens, D width of the context, C channels of the coarsest level

MEASURES = ("text", "entropy", "random")
_POOL = 4
"""Among so many times the budget, the most uncertain, images are chosen that differ most."""


@dataclass(frozen=True, kw_only=True)
class Ranked:
    """An image to be labelled."""

    file: Path
    uncertainty: float
    """Mean over pixels, in nats: see `disagreement` and `entropy`; 0 for a random choice."""


def label_next(
    run: Path,
    images: Sequence[str],
    *,
    budget: int,
    by: str = "text",
    labelled: Sequence[str] = (),
    size: int = 512,
    seed: int = 0,
    device: str = "cpu",
    report: Report = lambda *_: None,
) -> tuple[list[Ranked], dict[str, str]]:
    """The `budget` images to label next, in order, and {file: why it was left out}.

    by "text": how much predictions of one image differ between the run's own prompt, a prompt of all classes and an
    empty one; "entropy": of the prediction under the run's own prompt; "random": by `seed`. `labelled`: images that
    have labels; they are not chosen, nor ones like them. `size`: longest image side in pixels for the model.
    """
    if by not in MEASURES:
        raise ValueError(f"--by {by!r}: expected one of {', '.join(MEASURES)}")
    if budget < 1:
        raise ValueError(f"--budget is {budget}, expected a number of images")
    known = set(find_user_images(labelled).values()) if labelled else set()
    known = {file.resolve() for file in known}
    files = [file for file in find_user_images(images).values() if file.resolve() not in known]
    if by == "random":
        return [
            Ranked(file=file, uncertainty=0.0) for file in random.Random(seed).sample(files, min(budget, len(files)))
        ], {}
    measure = _Uncertainty.of_run(run, by, size, device)
    scores, features, failed = {}, {}, {}
    for number, file in enumerate([*files, *sorted(known)], start=1):
        try:
            scores[file], features[file] = measure.of(file)
        except ValueError as error:
            failed[str(file)] = str(error)
        report("uncertainty", number, len(files) + len(known))
    candidates = sorted((file for file in files if file in scores), key=lambda file: -scores[file])[: budget * _POOL]
    there = [file for file in known if file in features]
    chosen = diverse(features, candidates, there, budget)
    return [Ranked(file=file, uncertainty=scores[file]) for file in chosen], failed


class _Uncertainty:
    """A run that evaluates images one by one; each is encoded once, whatever the number of prompts."""

    def __init__(
        self,
        model: PerceptionModel,
        prompter: Prompter,
        captioner: Captioner | None,
        tagger: FittedTagger | None,
        by: str,
        size: int,
    ):
        self.model, self.prompter, self.captioner, self.tagger = model, prompter, captioner, tagger
        self.by, self.size = by, size

    @classmethod
    def of_run(cls, run: Path, by: str, size: int, device: str) -> "_Uncertainty":
        recipe = read_prompting(run)
        kind = recipe.prompt.kind
        model = loaded_model(run, AUTO, device)
        if by == "text" and (not prompt_kind(kind).is_text or model.context is not None):
            raise ValueError(f"the run's prompts, {kind!r}, are no texts that could be varied: take --by entropy")
        known = Run(run).prompt_names(model.config.classes)
        prompter = Prompter.of(recipe, [known[name] for name in model.config.classes])
        captioner = captioner_of(recipe, device) if recipe.needs_captions else None
        return cls(model, prompter, captioner, tagger_of(run, recipe, model, device), by, size)

    def of(self, file: Path) -> tuple[float, Tensor]:
        """The uncertainty of an image, and its features (C,)."""
        image = open_user_image(file)
        image.thumbnail((self.size, self.size), Image.Resampling.LANCZOS)
        encoded = EncodedImage(self.model, image)
        own = self._own_context(image)
        features = encoded.features(own).cpu()
        if self.by == "entropy":
            return float(entropy(encoded.probabilities(own)).mean()), features
        found = torch.cat([encoded.probabilities(one) for one in (own, *self._others(own))])
        return float(disagreement(found).mean()), features

    def _own_context(self, image: Image.Image) -> Tensor:
        """(1, T, D), as `tadp predict` conditions the image; without a captioner on no caption."""
        texts = self.captioner.caption([image]) if self.captioner else [""]
        if self.prompter.config.kind == "oracle":
            texts = [class_names_prompt(object_names(self.prompter.names))]
        return prompted(self.prompter, self.model, self.tagger, [image], texts).text_context

    def _others(self, own: Tensor) -> list[Tensor]:
        """(1, T, D) of a prompt of all classes and of an empty one, under the run's modifier."""
        plain = {"all": class_names_prompt(object_names(self.prompter.names)), "none": ""}
        with torch.no_grad():
            found = self.model.backbone.encode_text(list(modified(self.prompter.config, plain).values()))
        return [one for one in found.split(1) if one.shape != own.shape or not torch.equal(one.cpu(), own.cpu())]
