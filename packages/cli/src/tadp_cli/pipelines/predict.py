"""Predictions of a run for loose images, written as files."""

import errno
import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from tadp_captioning import Captioner, CaptionRecord, CaptionStore
from tadp_captioning.chat_api.answer_text import NoCaption
from tadp_captioning.matching import content_hash, free_id, source_of
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.read_ahead import read_ahead
from tadp_cli.inputs.user_images import PREDICTION_FILES, find_pictures
from tadp_cli.labelling.texts import GivenTexts, SelectedTags, captions_given, names_given
from tadp_cli.pipelines.loading import loaded_model
from tadp_cli.pipelines.prediction_files import (
    PNG,
    PredictionWriter,
    annotation_settings,
    is_written,
    save_png,
    write_classes,
)
from tadp_cli.prediction.batches import LoadedImage, image_batches
from tadp_cli.prediction.options import PredictOptions
from tadp_cli.prompts.authors import captioner_of, check_author
from tadp_cli.prompts.kind import make_kind
from tadp_cli.prompts.loose_images import LooseTagger, prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.image_io import images_of_any_size
from tadp_heads.overlay import draw_legend
from tadp_heads.precision import in_float32
from tadp_heads.pretrained import WEIGHTS_NAME
from tadp_heads.training.memory.out_of_memory import where_memory_lacks

SETTINGS_FILE, CAPTIONS_FILE = PREDICTION_FILES
LEGEND_FILE = "legend.png"
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


@in_float32()
def predict_images(
    run: Path, images: list[str], out: Path, options: PredictOptions, *, device: str, report: Report
) -> Predicted:
    """The files of `write_prediction` for each image; captions.jsonl with the texts used; settings.json; legend.png.

    What is there already is left alone, and a folder with predictions of other settings is refused.
    """
    recipe = read_prompting(run)
    files = find_pictures(images, leave_out=out)
    with run_lock(out), images_of_any_size() if options.tile else nullcontext():
        return _predict_files(run, recipe, files, out, options, device, report)


def _predict_files(
    run: Path,
    recipe: Recipe,
    files: Mapping[str, Path],
    out: Path,
    options: PredictOptions,
    device: str,
    report: Report,
) -> Predicted:
    model = configured_model(run, recipe, options, device, len(files))
    prompter = Prompter.of(recipe, class_names(run, model), options.cleaner, options.limits)
    _ = prompter.worker  # a model without a price is an error before anything is captioned
    chosen = {"caption": options.caption, "captioner": options.captioner, "protocol": options.protocol}
    chosen |= {key: value for key in ("size", "cleaner", "confidence") if (value := getattr(options, key))}
    chosen |= {key: str(value.resolve()) for key in ("captions", "names") if (value := getattr(options, key))}
    chosen |= annotation_settings(options)
    if options.tiling is not None:
        options.tiling.check(model)
        chosen |= {key: getattr(options, key) for key in ("tile", "overlap", "tile_captions", "mask_file")}
    claim(out / SETTINGS_FILE, {"run": str(run.resolve()), "weights": weights_digest(run), **chosen}, "predictions")
    write_legend(model, out)
    writer = PredictionWriter.of(options, model, out)
    store = CaptionStore.open(out / CAPTIONS_FILE)
    files = {_own_id(store, image_id, file): file for image_id, file in files.items()}
    given = _given(recipe, model, prompter, options, files)
    tagger = tagger_of(run, recipe, model, device) if given is None or given.names is None else None
    captioned = takes_captions(model, recipe) and options.caption is None and (given is None or given.texts is None)
    captioner = captioner_of(recipe, device, options.captioner) if captioned else None
    if options.tile_captions and captioner is None:
        raise ValueError(f"{run} was trained without captions: leave --tile-captions out")
    done = Predicted(there=[i for i, file in files.items() if is_written(out, i) and _is_of(store.get(i), file)])
    if given is not None:
        done.there = [image_id for image_id in done.there if given.made(store.get(image_id), image_id)]
        done.failed = {i: f"{file}: it is not in {given.path}" for i, file in files.items() if i not in given}
    left = {i: file for i, file in files.items() if i not in {*done.there, *done.failed}}
    total = len(left) + len(done.failed)
    start = time.perf_counter()

    def predict(batch: list[LoadedImage]) -> None:
        if captioner is not None:
            texts = captioner.caption([p.shrunk if options.tile else p.image for p in batch])
        elif given is not None and given.texts is not None:
            texts = [given.texts[picture.id] for picture in batch]
        else:
            texts = [options.caption or ""] * len(batch)
        batch, texts = _with_captions(batch, texts, done.failed)
        if not batch:
            return
        shrunk = [picture.shrunk for picture in batch]
        tags: LooseTagger | None = tagger
        if given is not None and given.names is not None and recipe.needs_presence:
            names = [given.names[picture.id] for picture in batch]
            tags = SelectedTags(make_kind(recipe.prompt, prompter.names).names, names)
        prompts, context = prompted(prompter, model, tags, shrunk, texts)

        def context_of(crops: Sequence[Image.Image]) -> Tensor | None:
            if context is None:  # a backbone without text
                return None
            if not options.tile_captions or captioner is None:
                return context.expand(len(crops), -1, -1)
            return prompted(prompter, model, tags, crops, captioner.caption(list(crops))).context

        tiling = options.tiling
        results: list[Any] = [None] * len(batch)
        if tiling is None:
            confidence = writer.needs_confidence(model)
            results = model.predict_batch(shrunk, None, len(batch), context, confidence=confidence)

        def written(picture: LoadedImage, result: Any) -> str:
            """Why its files could not be written; "" if they were."""
            try:
                if tiling is not None:
                    writer.write_tiled(model, picture.image, picture.id, picture.file, context_of, tiling, report)
                else:
                    whole = result if picture.shrunk is picture.image else result.on(picture.image)
                    writer.write(whole, picture.id, picture.file)
            except OSError as error:
                if error.errno != errno.ENAMETOOLONG:
                    raise
                return f"{picture.file}: {error.strerror}: rename the image"
            return ""

        if tiling is None and options.format == PNG:  # files of one image each, which may be compressed side by side
            with ThreadPoolExecutor(_WRITERS) as writers:
                failures = list(writers.map(written, batch, results))
        else:
            failures = [written(picture, result) for picture, result in zip(batch, results, strict=True)]
        records = []
        shown: list[str | None] = [*prompts] if prompts else [None] * len(batch)
        for picture, text, prompt, failure in zip(batch, texts, shown, failures, strict=True):
            if failure:
                done.failed[picture.id] = failure
                continue
            extra = {} if given is None else given.recorded(picture.id)
            records.append(_record(store, picture, text, prompt, captioner, extra))
        # Last, so that a killed process leaves no caption that the next one adds once more.
        store.add(*(record for record in records if store.get(record.id) != record))
        done.written.extend(record.id for record in records)

    # Windows are cut from the whole image, one image at a time; its caption is that of a smaller copy.
    size, batch_size = (_CAPTIONED, 1) if options.tile else (options.size, options.batch_size)
    batches = image_batches(left, size, batch_size, done.failed)
    for batch in batches if options.tile else read_ahead(batches):  # two large images may be too much
        for picture, error in where_memory_lacks(predict, batch):
            done.failed[picture.id] = _too_large(picture, error, options, model)
        report("predict", len(done.written) + len(done.failed), total)
    done.seconds = time.perf_counter() - start
    writer.finish((*done.there, *done.written))
    return done


def _given(
    recipe: Recipe, model: PerceptionModel, prompter: Prompter, options: PredictOptions, files: Mapping[str, Path]
) -> GivenTexts | None:
    """The texts that the options name for single images."""
    if options.captions is not None:
        return captions_given(options.captions, files)
    if options.names is not None:
        return names_given(options.names, files, recipe, model.config.classes, prompter.names)
    return None


def _with_captions(
    pictures: list[LoadedImage], texts: list[str], failed: dict[str, str]
) -> tuple[list[LoadedImage], list[str]]:
    """The images whose text is a caption, and the captions; the reason why another has none goes into `failed`."""
    kept = []
    for picture, text in zip(pictures, texts, strict=True):
        if isinstance(text, NoCaption):
            failed[picture.id] = f"{picture.file}: {text.reason}"
        else:
            kept.append((picture, text))
    return [picture for picture, _ in kept], [text for _, text in kept]


def _too_large(picture: LoadedImage, error: str, options: PredictOptions, model: PerceptionModel) -> str:
    width, height = picture.shrunk.size
    size = min(1024, (options.size or max(width, height)) // 2)
    tiled = ["--tile 512"] * (model.config.task in ("segmentation", "detection"))
    ways = ["--protocol slide"] * ("slide" in model.task.protocols) + tiled
    windows = f", or in windows with {' or '.join(ways)}" if ways else ""
    return (
        f"{picture.file}: not enough memory for {width}x{height} pixels{error}: predict it with --size {size}{windows}"
    )


def configured_model(run: Path, recipe: Recipe, options: PredictOptions, device: str, images: int) -> PerceptionModel:
    """The run's model with the options in its config, if they go together."""
    model = loaded_model(run, options.speed, device, images=images)
    model.config = replace(model.config, protocol=options.protocol or model.config.protocol)
    if options.names is not None:
        return model
    if takes_captions(model, recipe):
        if options.caption is None and options.captions is None and not options.captioner:
            check_captioned(run, recipe, "give the text with --caption or --captions, or name a --captioner")
    elif options.caption is not None or options.captions is not None or options.captioner:
        raise ValueError(f"{run} was trained without captions: leave --caption, --captions and --captioner out")
    return model


def write_legend(model: PerceptionModel, out: Path) -> None:
    """legend.png and classes.json, of a model that has classes."""
    if model.config.classes:
        save_png(draw_legend(model.config.classes, model.config.palette), out / LEGEND_FILE)
        write_classes(model.config.classes, model.config.palette, out)


def check_captioned(run: Path, recipe: Recipe, fix: str) -> None:
    """Raise unless the run can caption images itself."""
    if not recipe.needs_captions:
        raise ValueError(f"{run} was trained with the prompt {recipe.prompt.kind!r}: {fix}")
    check_author(recipe, run, fix)


def class_names(run: Path, model: PerceptionModel) -> list[str]:
    """The model's classes as the run's prompts name them."""
    known = Run(run).prompt_names(model.config.classes)
    return [known[name] for name in model.config.classes]


def takes_captions(model: PerceptionModel, recipe: Recipe) -> bool:
    """Whether each image needs a text, for its prompt or for the image tagger that makes it."""
    if recipe.needs_presence:
        return recipe.needs_captions
    return model.config.needs_caption and model.context is None


def weights_digest(run: Path) -> str:
    """Of the run's head: a run that was retrained in the same folder predicts otherwise."""
    with (run / WEIGHTS_NAME).open("rb") as weights:
        return hashlib.file_digest(weights, "sha256").hexdigest()[:16]


def _own_id(store: CaptionStore, image_id: str, file: Path) -> str:
    """The id under which the image's prediction is kept: a longer one where another image of its name has it."""
    return image_id if store.get(image_id) is None else free_id(store, image_id, file, content_hash(file))


def _is_of(record: CaptionRecord | None, file: Path) -> bool:
    """Whether the prediction was made from this content, as far as its record says."""
    return record is not None and record.extra.get("hash") in (None, content_hash(file))


def _record(
    store: CaptionStore,
    picture: LoadedImage,
    text: str,
    prompt: str | None,
    captioner: Captioner | None,
    more: Mapping[str, list[str]],
) -> CaptionRecord:
    names = {} if captioner is None else {"captioner": captioner.name, "params": captioner.params}
    extra = {"hash": content_hash(picture.file), **({} if prompt is None else {"prompt": prompt}), **more}
    return CaptionRecord(id=picture.id, caption=text, source=source_of(store, picture.file), extra=extra, **names)
