"""Uploads a learned token, LoRA or fine-tuned pipeline as a model repository."""

import json
from collections.abc import Mapping
from pathlib import Path

from tadp_personalize._io import write_text
from tadp_personalize._markdown import front_matter
from tadp_personalize._read_errors import reading
from tadp_personalize.hub.repository import upload_folder
from tadp_personalize.io.tokens import CARD_DATA_FILE
from tadp_personalize.training.checkpoint import README_FILE, RESULTS_FILE

LEFT_OUT = ("state/*", "class_images/*", "images.png", "tracking/*", ".*", "*/.*")
"""Files that are not uploaded: the state to resume from, images that were learned from, event files of experiment
trackers, and hidden files."""
_TAGS = {
    "textual-inversion": ["textual_inversion"],
    "dreambooth": ["dreambooth"],
    "dreambooth-lora": ["dreambooth", "lora"],
}
_LICENCE_HEADING = "## Licence"


def push_personalization(
    folder: str | Path,
    repository: str,
    *,
    private: bool = False,
    base_model: str = "",
    licence_key: str = "",
    licences: Mapping[str, str] | None = None,
) -> str:
    """Upload a learned token, a LoRA or a fine-tuned pipeline with its card; the address of the commit.

    `base_model`: owner/name of the model it was learned on; `licence_key`: of the result, as the hub lists it;
    `licences`: {part: its licence}, for the card. ValueError for a folder without a finished result.
    """
    folder = Path(folder)
    if not (folder / RESULTS_FILE).is_file() or not (folder / CARD_DATA_FILE).is_file():
        raise ValueError(f"{folder} holds no finished token, LoRA or pipeline; `tadp personalize` makes one")
    with reading(folder / CARD_DATA_FILE, "restore the file that was written with the weights"):
        made = json.loads((folder / CARD_DATA_FILE).read_text(encoding="utf-8"))
        tags = _TAGS[made["method"]]
    metadata = {"library_name": "diffusers", "license": licence_key, "base_model": base_model, "tags": [*tags, "tadp"]}
    text = (folder / README_FILE).read_text(encoding="utf-8")
    card = card_with(text, {key: value for key, value in metadata.items() if value}, licences or {})
    write_text(folder / README_FILE, card)
    return upload_folder(folder, repository, private=private, ignore=LEFT_OUT)


def card_with(text: str, metadata: Mapping[str, object], licences: Mapping[str, str]) -> str:
    """The card's text with this metadata in place of its own, and with these licences where any are given."""
    if text.startswith("---\n"):
        text = text.partition("\n---\n")[2]
    if licences:
        lines = "\n".join(f"- {part}: {licence}" for part, licence in licences.items())
        text = f"{text.partition(_LICENCE_HEADING)[0]}{_LICENCE_HEADING}\n\n{lines}\n"
    return f"{front_matter(metadata)}\n{text}"
