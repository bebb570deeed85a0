"""A run's model with all that prompts it and writes its predictions, for batch after batch of loose images."""

import errno
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

from PIL import Image
from torch import Tensor

from tadp_captioning import Captioner, CaptionRecord, CaptionStore
from tadp_captioning.chat_api.answer_text import NoCaption
from tadp_captioning.matching import content_hash, source_of
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.read_ahead import read_ahead
from tadp_cli.labelling.texts import GivenTexts, SelectedTags
from tadp_cli.pipelines.prediction_files import PNG, PredictionWriter
from tadp_cli.prediction.batches import LoadedImage, image_batches
from tadp_cli.prediction.model import class_names, configured_model, takes_captions
from tadp_cli.prediction.options import PredictOptions
from tadp_cli.prompts.authors import captioner_of
from tadp_cli.prompts.kind import make_kind
from tadp_cli.prompts.loose_images import LooseTagger, prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_heads import PerceptionModel
from tadp_heads.data.image_io import images_of_any_size
from tadp_heads.training.memory.out_of_memory import where_memory_lacks

_WRITERS = min(8, os.cpu_count() or 1)
_CAPTIONED = 1024
"""Longest side in pixels of the copy by which a large image is captioned."""


@dataclass(kw_only=True)
class Predicted:
    """What became of each image, by id."""

    written: list[str] = field(default_factory=list)
    there: list[str] = field(default_factory=list)
    """Predicted by an earlier call with the same settings."""
    failed: dict[str, str] = field(default_factory=dict)
    """{id: why it could not be read or predicted}."""
    seconds: float = 0.0
    """For what was written, loading of the model left out."""


@dataclass(kw_only=True)
class PredictedPart:
    """Of some of the images: the records of those whose files are written, and the reasons of the others."""

    records: list[CaptionRecord] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictor:
    """Writes the files of images; what it returns of them is for captions.jsonl, which one process writes."""

    run: Path
    recipe: Recipe
    model: PerceptionModel
    prompter: Prompter
    writer: PredictionWriter
    options: PredictOptions
    device: str
    place: CaptionStore
    """Where the captions will be; its path alone counts."""

    @classmethod
    def load(cls, run: Path, recipe: Recipe, captions: Path, options: PredictOptions, device: str, images: int) -> Self:
        """`captions`: the file of the captions, in the folder to write to; `images`: about how many there will be."""
        model = configured_model(run, recipe, options, device, images)
        prompter = Prompter.of(recipe, class_names(run, model), options.cleaner, options.limits)
        _ = prompter.worker  # a model without a price is an error before anything is captioned
        if options.tiling is not None:
            options.tiling.check(model)
        writer = PredictionWriter.of(options, model, captions.parent)
        return cls(run, recipe, model, prompter, writer, options, device, CaptionStore(path=captions))

    @cached_property
    def captioner(self) -> Captioner:
        """Who writes the captions that nobody has given."""
        return captioner_of(self.recipe, self.device, self.options.captioner)

    @cached_property
    def tagger(self) -> LooseTagger | None:
        """The run's image tagger, where its prompts need one."""
        return tagger_of(self.run, self.recipe, self.model, self.device)

    def writes_captions(self, given: GivenTexts | None) -> bool:
        """Whether the captioner is asked."""
        has_text = self.options.caption is not None or (given is not None and given.texts is not None)
        return takes_captions(self.model, self.recipe) and not has_text

    def prepare(self, given: GivenTexts | None) -> None:
        """Load the models that captions and tags need; ValueError for windows with captions of a run without."""
        if given is None or given.names is None:
            _ = self.tagger
        if self.writes_captions(given):
            _ = self.captioner
        elif self.options.tile_captions:
            raise ValueError(f"{self.run} was trained without captions: leave --tile-captions out")

    def predict(self, files: Mapping[str, Any], given: GivenTexts | None, report: Report) -> Iterator[PredictedPart]:
        """Of each batch of the images, files or images inside larger files, once it is written."""
        self.prepare(given)
        # Windows are cut from the whole image, one image at a time; its caption is that of a smaller copy.
        tiled = self.options.tiling is not None
        size, batch_size = (_CAPTIONED, 1) if tiled else (self.options.size, self.options.batch_size)
        unreadable: dict[str, str] = {}
        with images_of_any_size() if tiled else nullcontext():
            batches = image_batches(files, size, batch_size, unreadable)
            for batch in batches if tiled else read_ahead(batches):  # two large images may be too much
                part = PredictedPart()
                work = partial(self._predict, given=given, report=report, part=part)
                for loaded, error in where_memory_lacks(work, batch):
                    part.failed[loaded.id] = self._too_large(loaded, error)
                yield part
        if unreadable:
            yield PredictedPart(failed=unreadable)

    def _predict(
        self, batch: list[LoadedImage], *, given: GivenTexts | None, report: Report, part: PredictedPart
    ) -> None:
        captioner = self.captioner if self.writes_captions(given) else None
        batch, texts = _with_captions(batch, self._texts(batch, captioner, given), part.failed)
        if not batch:
            return
        tags = self._tags(batch, given)
        prompts, context = prompted(self.prompter, self.model, tags, [loaded.shrunk for loaded in batch], texts)
        failures = self._written(batch, context, captioner, tags, report)
        shown: list[str | None] = [*prompts] if prompts else [None] * len(batch)
        for loaded, text, prompt, failure in zip(batch, texts, shown, failures, strict=True):
            if failure:
                part.failed[loaded.id] = failure
                continue
            extra = {} if given is None else given.recorded(loaded.id)
            part.records.append(_record(self.place, loaded, text, prompt, captioner, extra))

    def _texts(self, batch: list[LoadedImage], captioner: Captioner | None, given: GivenTexts | None) -> list[str]:
        if captioner is not None:
            return captioner.caption([p.shrunk if self.options.tile else p.image for p in batch])
        if given is not None and given.texts is not None:
            return [given.texts[loaded.id] for loaded in batch]
        return [self.options.caption or ""] * len(batch)

    def _tags(self, batch: list[LoadedImage], given: GivenTexts | None) -> LooseTagger | None:
        if given is None or given.names is None:
            return self.tagger
        if not self.recipe.needs_presence:
            return None
        names = [given.names[loaded.id] for loaded in batch]
        return SelectedTags(make_kind(self.recipe.prompt, self.prompter.names).names, names)

    def _written(
        self,
        batch: list[LoadedImage],
        context: Tensor | None,
        captioner: Captioner | None,
        tags: LooseTagger | None,
        report: Report,
    ) -> list[str]:
        """Predicts and writes the images; why the files of one could not be written, "" if they were."""
        options, writer, model = self.options, self.writer, self.model
        tiling = options.tiling

        def context_of(crops: Sequence[Image.Image]) -> Tensor | None:
            if context is None:  # a backbone without text
                return None
            if not options.tile_captions or captioner is None:
                return context.expand(len(crops), -1, -1)
            return prompted(self.prompter, model, tags, crops, captioner.caption(list(crops))).context

        results: list[Any] = [None] * len(batch)
        if tiling is None:
            shrunk, confidence = [loaded.shrunk for loaded in batch], writer.needs_confidence(model)
            results = model.predict_batch(shrunk, None, len(batch), context, confidence=confidence)

        def written(loaded: LoadedImage, result: Any) -> str:
            try:
                if tiling is not None:
                    writer.write_tiled(model, loaded.image, loaded.id, loaded.file, context_of, tiling, report)
                else:
                    whole = result if loaded.shrunk is loaded.image else result.on(loaded.image)
                    writer.write(whole, loaded.id, loaded.file)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                return f"{loaded.file}: {error.strerror}: rename the image"
            return ""

        if tiling is None and options.format == PNG:  # files of one image each, which may be compressed side by side
            with ThreadPoolExecutor(_WRITERS) as writers:
                return list(writers.map(written, batch, results))
        return [written(loaded, result) for loaded, result in zip(batch, results, strict=True)]

    def _too_large(self, loaded: LoadedImage, error: str) -> str:
        width, height = loaded.shrunk.size
        size = min(1024, (self.options.size or max(width, height)) // 2)
        tiled = ["--tile 512"] * (self.model.config.task in ("segmentation", "detection"))
        ways = ["--protocol slide"] * ("slide" in self.model.task.protocols) + tiled
        windows = f", or in windows with {' or '.join(ways)}" if ways else ""
        return (
            f"{loaded.file}: not enough memory for {width}x{height} pixels{error}: predict it with --size {size}"
            f"{windows}"
        )


def _with_captions(
    images: list[LoadedImage], texts: list[str], failed: dict[str, str]
) -> tuple[list[LoadedImage], list[str]]:
    """The images whose text is a caption, and the captions; the reason why another has none goes into `failed`."""
    kept = []
    for loaded, text in zip(images, texts, strict=True):
        if isinstance(text, NoCaption):
            failed[loaded.id] = f"{loaded.file}: {text.reason}"
        else:
            kept.append((loaded, text))
    return [loaded for loaded, _ in kept], [text for _, text in kept]


def _record(
    store: CaptionStore,
    loaded: LoadedImage,
    text: str,
    prompt: str | None,
    captioner: Captioner | None,
    more: Mapping[str, list[str]],
) -> CaptionRecord:
    names = {} if captioner is None else {"captioner": captioner.name, "params": captioner.params}
    extra = {"hash": content_hash(loaded.file), **({} if prompt is None else {"prompt": prompt}), **more}
    return CaptionRecord(id=loaded.id, caption=text, source=source_of(store, loaded.file), extra=extra, **names)
