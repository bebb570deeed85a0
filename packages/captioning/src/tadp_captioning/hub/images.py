"""Images of a data set repository of the hub: those inside its parquet tables and tar archives."""

import re
from typing import Any

from tadp_captioning.archives.images import PACKED, packed_images
from tadp_captioning.hub.repository import local_folder


def images_of_hub(repository: str, split: str = "") -> dict[str, Any]:
    """Images by id (see `packed_images`) of owner/name, downloaded once and kept in the hub's cache.

    `split`: of the files whose path has that word, such as data/train-00000-of-00002.parquet; empty: of all.
    """
    folder = local_folder(repository, kind="dataset", patterns=[f"*{split}*{suffix}" for suffix in PACKED])
    files = [file for file in sorted(folder.rglob("*")) if file.suffix.lower() in PACKED]
    chosen = [file for file in files if not split or split in re.split(r"[^\w]|_", str(file.relative_to(folder)))]
    if not chosen:
        of_split = f" of the split {split!r}" if split else ""
        raise ValueError(
            f"{repository}: the data set has no .parquet or .tar{of_split}; download it with `hf download --repo-type "
            f"dataset {repository}` and name its folder of images"
        )
    return packed_images([str(file) for file in chosen])
