"""The models of one server: each is loaded once, whoever asks first, and used by one request at a time."""

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_cli.app.images import InputImage
from tadp_cli.app.words import Latents, encode
from tadp_cli.config.default_models import TINY
from tadp_cli.config.recipe import Recipe
from tadp_cli.labelling.proposals import Proposals
from tadp_cli.labelling.texts import check_names_classes
from tadp_cli.pipelines.loading import loaded_backbone, loaded_model
from tadp_cli.precision import FULL_PRECISION
from tadp_cli.prediction.model import class_names
from tadp_cli.prompts.authors import captioner_of
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_cli.run.run import RECIPE_FILE
from tadp_heads.labelling.encoded_image import EncodedImage, LatentCache
from tadp_heads.results import Result

_KEPT = 32
"""Images whose latents are kept."""


class LoadedRun:
    """A finished run."""

    def __init__(self, run: Path, device: str):
        self.run, self.device = run, device
        self.recipe: Recipe = read_prompting(run)
        self.model = loaded_model(run, FULL_PRECISION, device, read_inside=True)
        if not isinstance(self.model.backbone, DiffusionBackbone):
            raise ValueError(f"{run} has a vision transformer, which has no attention to words: choose another run")
        self.prompter = Prompter.of(self.recipe, class_names(run, self.model))
        self.tagger = tagger_of(run, self.recipe, self.model, device)
        self.encoded = LatentCache(self.model, _KEPT)

    @cached_property
    def captioner(self) -> Any:
        """The one that wrote the run's captions."""
        return captioner_of(self.recipe, self.device)

    def predict(self, given: InputImage, caption: str) -> tuple[Result, str]:
        """What the run predicts, and the prompt it was given."""
        texts, context = prompted(self.prompter, self.model, self.tagger, [given.image], [caption])
        return self.model.predict_batch([given.image], context=context)[0], (texts or [""])[0]

    def encode(self, given: InputImage) -> EncodedImage:
        """For masks under many prompts; ValueError unless the run is one for segmentation."""
        return self.encoded.get(given.key, given.image)

    def proposals(self, log: Path) -> Proposals:
        """Names for images, selected ones kept in `log`; shares the model and its cached latents."""
        check_names_classes(self.recipe)
        found = Proposals(self.model, self.prompter, self.recipe.needs_presence, log)
        found.latents = self.encoded
        return found


class Models:
    """The backbone that maps are shown of, and the runs."""

    def __init__(self, runs: Sequence[Path], device: str = "cpu", backbone: str = TINY):
        self.runs = {
            run.resolve().name if len({r.resolve().name for r in runs}) == len(runs) else str(run): run for run in runs
        }
        self.device, self.source = device, backbone
        self._lock = threading.RLock()
        self._loaded: dict[str, LoadedRun] = {}
        self._latents: OrderedDict[Hashable, Latents] = OrderedDict()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Inside, no other request uses a model: what is recorded in a pass is of this request."""
        with self._lock, torch.no_grad():
            yield

    @cached_property
    def backbone(self) -> DiffusionBackbone:
        """Loaded at the first request."""
        return loaded_backbone(self.source, FULL_PRECISION, self.device, read_inside=True)

    @cached_property
    def captioner(self) -> Any:
        """Of the backbone's images."""
        from tadp_captioning import load_captioner

        return load_captioner(TINY if self.source == TINY else "blip2", device=self.device)

    def add(self, run: Path) -> str:
        """A run that was trained meanwhile; returns its name."""
        self.runs[run.name] = run
        return run.name

    def run(self, name: str | None) -> LoadedRun:
        """Loaded unless it was; ValueError for a name that is unknown, or a folder that is gone."""
        if not name or name not in self.runs:
            raise ValueError("no run: start `tadp app RUN`, or train one with the button above the tabs")
        folder = self.runs[name]
        if not (folder / RECIPE_FILE).is_file():
            self._loaded.pop(name, None)
            raise ValueError(f"the run {name} is not in its folder any more: choose another one")
        if name not in self._loaded:
            self._loaded[name] = LoadedRun(folder, self.device)
        return self._loaded[name]

    def latents(self, given: InputImage, backbone: DiffusionBackbone, image_range: str = "sd") -> Latents:
        """Of an image that was encoded before, or now."""
        key = (id(backbone), given.key)
        if key not in self._latents:
            self._latents[key] = encode(backbone, given.image, image_range)
        self._latents.move_to_end(key)
        while len(self._latents) > _KEPT:
            self._latents.popitem(last=False)
        return self._latents[key]


def caption_of(captioner: Any, image: Image.Image) -> str:
    """What a captioner writes of an image."""
    return captioner.caption([image])[0]
