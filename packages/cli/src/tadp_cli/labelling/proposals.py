"""Class names while labelling: proposed with probabilities, selected by a person, drawn as a mask at once, and kept."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple, Self

import torch
from PIL import Image
from torch import Tensor

from tadp_captioning import class_names_prompt
from tadp_captioning.jsonl import append_rows, read_rows
from tadp_cli.labelling.texts import SelectedTags, check_names_classes
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.precision import AUTO
from tadp_cli.prompts.kind import make_kind
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.class_names import object_names
from tadp_heads.labelling.encoded_image import EncodedImage, LatentCache
from tadp_heads.results import Result


class Proposal(NamedTuple):
    """One class of the model for one image."""

    name: str
    """As prompts have it."""
    probability: float
    """In [0, 1]: the largest over the image's pixels, predicted under a prompt of all classes."""


class Proposals:
    """A segmentation run that proposes names and draws masks of those that are selected.

    Every decision is appended to `log` (JSON Lines) and on disk before `decide` returns; a log that is there is
    continued. `tadp predict --names LOG` reads it.
    """

    def __init__(self, model: PerceptionModel, prompter: Prompter, needs_presence: bool, log: Path):
        self.model, self.prompter, self.needs_presence, self.log = model, prompter, needs_presence, log
        self.names = object_names(prompter.names)
        self.latents = LatentCache(model)
        rows = read_rows(log) if log.is_file() else ()
        self.decisions: dict[str, tuple[str, ...]] = {row["id"]: tuple(row["names"]) for _, row in rows}
        """{image id: selected names}, the last decision of each."""

    @classmethod
    def of_run(cls, run: Path, log: Path, device: str = "cpu") -> Self:
        """Of the folder that `tadp train` made."""
        recipe = read_prompting(run)
        check_names_classes(recipe)
        model = loaded_model(run, AUTO, device)
        known = Run(run).prompt_names(model.config.classes)
        prompter = Prompter.of(recipe, [known[name] for name in model.config.classes])
        return cls(model, prompter, recipe.needs_presence, log)

    def propose(self, image_id: str, image: Image.Image) -> list[Proposal]:
        """All object classes, the likeliest first."""
        peaks = self._encoded(image_id, image).probabilities(self._context(image, self.names))[0].amax((1, 2))  # (K,)
        of_name: dict[str, float] = {}
        for name, peak in zip(self.prompter.names, peaks.tolist(), strict=True):
            if name in self.names:
                of_name[name] = max(peak, of_name.get(name, 0.0))
        return sorted((Proposal(*item) for item in of_name.items()), key=lambda one: -one.probability)

    def draw(self, image_id: str, image: Image.Image, names: Sequence[str]) -> Result:
        """The mask under the selected names; after the first call for an image, one UNet pass."""
        return self._encoded(image_id, image).result(self._context(image, self._checked(names)))

    def decide(self, image_id: str, names: Sequence[str]) -> None:
        """Keep the names selected for an image; the last decision of an image counts."""
        chosen = self._checked(names)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        time = datetime.now(UTC).isoformat(timespec="seconds")
        append_rows(self.log, [{"id": image_id, "names": list(chosen), "time": time}])
        self.decisions[image_id] = chosen

    def _encoded(self, image_id: str, image: Image.Image) -> EncodedImage:
        return self.latents.get(image_id, image)

    @torch.no_grad()
    def _context(self, image: Image.Image, names: Sequence[str]) -> Tensor:
        """(1, T, D) as in training, with the names in place of a caption and of the image tagger."""
        classes = make_kind(self.prompter.config, self.prompter.names).names
        tagger = SelectedTags(classes, [names]) if self.needs_presence else None
        return prompted(self.prompter, self.model, tagger, [image], [class_names_prompt(names)]).text_context

    def _checked(self, names: Sequence[str]) -> tuple[str, ...]:
        unknown = [name for name in names if name not in self.names]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no class of the model: {', '.join(self.names)}")
        return tuple(name for name in self.names if name in set(names))
