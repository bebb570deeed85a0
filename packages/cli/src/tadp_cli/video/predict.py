"""Predictions of a run for a video: the frames' results, and the texts of its shots."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from tadp_captioning import Captioner, CaptionRecord, CaptionStore
from tadp_captioning.chat_api.answer_text import NoCaption
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.user_images import PREDICTION_FILES
from tadp_cli.pipelines.prediction_files import PNG, PredictionWriter
from tadp_cli.prediction.model import class_names, configured_model, takes_captions, weights_digest, write_legend
from tadp_cli.prediction.options import PredictOptions
from tadp_cli.prompts.authors import captioner_of
from tadp_cli.prompts.loose_images import LooseTagger, prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.recorded import read_prompting
from tadp_cli.prompts.tagging.store import tagger_of
from tadp_cli.run.guard import claim
from tadp_cli.run.lock import run_lock
from tadp_cli.run.output_paths import below
from tadp_heads import PerceptionModel
from tadp_heads.precision import in_float32
from tadp_heads.video.predict import SUMMARY_FILE, FrameText, VideoOptions
from tadp_heads.video.predict import predict_video as predict_frames

SETTINGS_FILE, CAPTIONS_FILE = PREDICTION_FILES
_MANY = 1000
"""Images for which a model is loaded: how many frames a video has is known at its end."""


@in_float32()
def predict_video(
    run: Path, file: Path, out: Path, options: PredictOptions, video: VideoOptions, *, device: str, report: Report
) -> dict[str, Any]:
    """The files of `tadp_heads.video.predict.predict_video` below OUT/NAME, captions.jsonl with the shots' captions.

    Frames that are there already are left alone, and a folder with predictions of other settings is refused.
    """
    refused = {"--captions": options.captions, "--names": options.names, "--tile": options.tile, "--size": options.size}
    if given := [name for name, value in refused.items() if value]:
        raise ValueError(f"{file} is a video: leave {given[0]} out")
    if options.format != PNG:
        raise ValueError(f"{file} is a video: --format {options.format} is for images alone, leave it out")
    if not file.is_file():
        raise ValueError(f"{file}: no file")
    recipe, folder = read_prompting(run), below(out, file.stem)
    with run_lock(folder):
        model = configured_model(run, recipe, options, device, _MANY)
        prompter = Prompter.of(recipe, class_names(run, model), options.cleaner, options.limits)
        chosen: dict[str, Any] = {
            "caption": options.caption,
            "captioner": options.captioner,
            "protocol": options.protocol,
        }
        chosen |= {"cleaner": options.cleaner, "confidence": options.confidence, "video": str(file.resolve())}
        chosen |= {"bytes": file.stat().st_size, "caption_per": video.caption_per, "shots": video.shot_threshold}
        chosen |= {"run": str(run.resolve()), "weights": weights_digest(run)}
        claim(folder / SETTINGS_FILE, chosen, "predictions")
        if (folder / SUMMARY_FILE).is_file():
            return json.loads((folder / SUMMARY_FILE).read_text(encoding="utf-8"))
        write_legend(model, folder)
        captioned = takes_captions(model, recipe) and options.caption is None
        texts = _Texts(
            model=model,
            prompter=prompter,
            tagger=tagger_of(run, recipe, model, device),
            captioner=captioner_of(recipe, device, options.captioner) if captioned else None,
            caption=options.caption or "",
            store=CaptionStore.open(folder / CAPTIONS_FILE),
        )
        writer = PredictionWriter.of(options, model, folder)
        return predict_frames(
            model,
            file,
            folder,
            texts.contexts,
            lambda result, name: writer.write(result, name, file),
            video,
            partial(report, f"frames of {file.name}"),
        )


@dataclass(frozen=True, kw_only=True)
class _Texts:
    """Captions of shots or frames: those of an earlier call are kept."""

    model: PerceptionModel
    prompter: Prompter
    tagger: LooseTagger | None
    captioner: Captioner | None
    caption: str
    store: CaptionStore

    def contexts(self, shown: Sequence[FrameText]) -> Tensor | None:
        """(B, T, D), as in training; None for a backbone without text."""
        new = [one for one in shown if self.store.get(one.id) is None]
        if new and self.captioner is not None:
            found = self.captioner.caption([one.image for one in new])
            if refused := next((text for text in found if isinstance(text, NoCaption)), None):
                raise ValueError(f"no caption for {new[0].id}: {refused.reason}")
            name, params = self.captioner.name, self.captioner.params
            named = zip(new, map(str, found), strict=True)
            self.store.add(
                *(CaptionRecord(id=one.id, caption=text, captioner=name, params=params) for one, text in named)
            )
        texts = [self.store[one.id] if self.captioner is not None else self.caption for one in shown]
        return prompted(self.prompter, self.model, self.tagger, [one.image for one in shown], texts).context
