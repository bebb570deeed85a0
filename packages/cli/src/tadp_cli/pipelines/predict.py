"""Predictions of a run for loose images, written as files."""

import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from tadp_captioning import CaptionRecord, CaptionStore
from tadp_captioning.matching import content_hash, free_id
from tadp_cli.console.launchers import ONE_PROCESS, ProcessShare
from tadp_cli.console.reporter import Report
from tadp_cli.engine.options import ONE_MACHINE, Engine
from tadp_cli.engine.predict import predict_with_actors
from tadp_cli.inputs.user_images import PREDICTION_FILES, find_predictable
from tadp_cli.labelling.texts import GivenTexts, captions_given, names_given
from tadp_cli.pipelines.prediction_files import annotation_settings, is_written
from tadp_cli.precision import AUTO
from tadp_cli.prediction.model import weights_digest, write_legend
from tadp_cli.prediction.options import PredictOptions
from tadp_cli.prediction.predictor import Predicted, Predictor
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_cli.run.processes import joined
from tadp_heads.precision import in_float32

SETTINGS_FILE, CAPTIONS_FILE = PREDICTION_FILES


@in_float32()
def predict_images(
    run: Path,
    images: list[str],
    out: Path,
    options: PredictOptions,
    *,
    device: str,
    report: Report,
    share: ProcessShare = ONE_PROCESS,
    engine: Engine = ONE_MACHINE,
) -> Predicted:
    """The files of `write_prediction` for each image; captions.jsonl with the texts used; settings.json; legend.png.

    What is there already is left alone, and a folder with predictions of other settings is refused. Of several
    processes each predicts a share; the first one's result is of all images.
    """
    recipe = read_prompting(run)
    files = find_predictable(images, leave_out=out)
    # The first process holds the folder; the others wait until it does, and it until they are done.
    with run_lock(out) if share.rank == 0 else nullcontext(), joined(share, out) as gathered:
        # On Ray this process checks what was asked for, and the actors have models of their own.
        own, where = (replace(options, speed=AUTO), "cpu") if engine.on_ray else (options, device)
        predictor = Predictor.load(run, recipe, out / CAPTIONS_FILE, own, where, len(files))
        claim(out / SETTINGS_FILE, _settings(run, options), "predictions")
        write_legend(predictor.model, out)
        store = CaptionStore.open(out / CAPTIONS_FILE)
        mine = dict(islice(files.items(), share.rank, None, share.world_size))
        mine = {_own_id(store, image_id, file): file for image_id, file in mine.items()}
        given = _given(predictor, options, mine)
        done = _known(mine, given, store, out)
        left = {i: file for i, file in mine.items() if i not in {*done.there, *done.failed}}
        total, start = len(left) + len(done.failed), time.perf_counter()
        if engine.on_ray:
            parts = predict_with_actors(run, recipe, out / CAPTIONS_FILE, options, left, given, device, engine)
        else:
            parts = predictor.predict(left, given, report)
        for part in parts:
            # After the files, so that a killed process leaves no caption that the next one adds once more.
            store.add(*(record for record in part.records if store.get(record.id) != record))
            done.written += [record.id for record in part.records]
            done.failed |= part.failed
            report("predict", len(done.written) + len(done.failed), total)
        done.seconds = time.perf_counter() - start
        shares = gathered(done)
        if share.rank == 0:
            done = _together(shares)
            predictor.writer.finish((*done.there, *done.written))
    return done


def _settings(run: Path, options: PredictOptions) -> dict[str, Any]:
    """What the predictions of a folder have in common."""
    chosen = {"caption": options.caption, "captioner": options.captioner, "protocol": options.protocol}
    chosen |= {key: value for key in ("size", "cleaner", "confidence") if (value := getattr(options, key))}
    chosen |= {key: str(value.resolve()) for key in ("captions", "names") if (value := getattr(options, key))}
    chosen |= annotation_settings(options)
    if options.tiling is not None:
        chosen |= {key: getattr(options, key) for key in ("tile", "overlap", "tile_captions", "mask_file")}
    return {"run": str(run.resolve()), "weights": weights_digest(run), **chosen}


def _known(files: Mapping[str, Any], given: GivenTexts | None, store: CaptionStore, out: Path) -> Predicted:
    """The images that were predicted before, and those for which no text is given."""
    done = Predicted(there=[i for i, file in files.items() if is_written(out, i) and _is_of(store.get(i), file)])
    if given is not None:
        done.there = [image_id for image_id in done.there if given.made(store.get(image_id), image_id)]
        done.failed = {i: f"{file}: it is not in {given.path}" for i, file in files.items() if i not in given}
    return done


def _given(predictor: Predictor, options: PredictOptions, files: Mapping[str, Any]) -> GivenTexts | None:
    """The texts that the options name for single images."""
    if options.captions is not None:
        return captions_given(options.captions, files)
    if options.names is not None:
        recipe, classes = predictor.recipe, predictor.model.config.classes
        return names_given(options.names, files, recipe, classes, predictor.prompter.names)
    return None


def _together(shares: list[Predicted]) -> Predicted:
    """What several processes did, as if one had."""
    return Predicted(
        written=[image_id for share in shares for image_id in share.written],
        there=[image_id for share in shares for image_id in share.there],
        failed={image_id: reason for share in shares for image_id, reason in share.failed.items()},
        seconds=max(share.seconds for share in shares),
    )


def _own_id(store: CaptionStore, image_id: str, file: Any) -> str:
    """The id under which the image's prediction is kept: a longer one where another image of its name has it."""
    return image_id if store.get(image_id) is None else free_id(store, image_id, file, content_hash(file))


def _is_of(record: CaptionRecord | None, file: Any) -> bool:
    """Whether the prediction was made from this content, as far as its record says."""
    return record is not None and record.extra.get("hash") in (None, content_hash(file))
