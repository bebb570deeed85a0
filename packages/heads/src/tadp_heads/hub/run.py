"""Uploads a run's folder as a model repository."""

from dataclasses import replace
from pathlib import Path

from PIL import Image

from tadp_heads.atomic_files import replacing, write_text
from tadp_heads.hub.card import CARD_NAME, CardDetails, model_card
from tadp_heads.hub.repository import upload_folder
from tadp_heads.model import PerceptionModel

SAMPLE_NAME = "sample.png"
LEFT_OUT = ("state/*", "best/*", "captions/*", "captions.jsonl", "tracking/*", "cache/*", ".*", "*/.*")
"""Files of a run that are not uploaded: states to resume from, earlier models, captions of the training images, event
files of experiment trackers, and hidden files."""


def push_run(
    folder: Path,
    repository: str,
    details: CardDetails,
    *,
    model: PerceptionModel,
    private: bool = False,
    sample: Image.Image | None = None,
    caption: str | None = None,
) -> str:
    """Write the card of a saved model into its folder, and upload it; the address of the commit.

    `sample`: an image whose prediction the card shows, made with `caption` where it is given. It is published.
    """
    details = replace(details, repository=repository)
    if sample is not None:
        with replacing(folder / SAMPLE_NAME) as partial:
            model.predict(sample, caption).overlay().save(partial, format="PNG")
        details = replace(details, image=SAMPLE_NAME)
    write_text(folder / CARD_NAME, model_card(model.config, model.head, details))
    left_out = LEFT_OUT if details.image else (*LEFT_OUT, SAMPLE_NAME)  # one of an earlier upload
    return upload_folder(folder, repository, private=private, ignore=left_out)
