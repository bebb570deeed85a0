"""Captions as a data set repository of the hub: one parquet file, which `datasets.load_dataset` reads, and a card."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tadp_captioning._io import replacing
from tadp_captioning.caption_tables import Columns, write_table
from tadp_captioning.hub.markdown import code, front_matter
from tadp_captioning.hub.repository import is_repository, local_folder, upload_folder
from tadp_captioning.records import CaptionRecord

CAPTIONS_FILE = "data/captions.parquet"
_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_CARD = """{metadata}
# {title}

{count:,} captions of images, by image id; the images are not part of it.

- captioner: {captioners}
- images: {images}

| column | what |
|---|---|
| `id` | the image's id: its path below the folder of images |
| `caption` | its caption; empty where it could not be captioned |
| `captioner`, `params`, `source` | who wrote the caption, with which settings, and of which image |
| `extra` | further fields, as JSON |

## Use

```python
from tadp_captioning import CaptionStore

captions = CaptionStore.read("{repository}")
print(len(captions), next(iter(captions.records())).caption)
```

`datasets.load_dataset("{repository}")` reads the same file.

## Licences

- captions: {licence}
- images: not part of this repository; the terms of their source hold for them, and may hold for their descriptions

## Limits

Captions were not checked by people, unless said above: they can leave out objects, invent some, and repeat biases of
the captioner.
"""


def captions_path(source: str | Path, revision: str | None = None) -> Path:
    """The path itself; of a repository of `push_captions` the path of its captions file, downloaded once."""
    if not is_repository(source):
        return local_folder(source, revision=revision).expanduser()
    folder = local_folder(source, revision=revision, kind="dataset", patterns=[CAPTIONS_FILE])
    if not (folder / CAPTIONS_FILE).is_file():
        raise ValueError(
            f"{source}: the data set has no {CAPTIONS_FILE}; `tadp push` writes one, from a file of captions"
        )
    return folder / CAPTIONS_FILE


def push_captions(
    records: Sequence[CaptionRecord],
    repository: str,
    *,
    private: bool = False,
    images: str = "",
    licence: str = "",
    licence_key: str = "",
) -> str:
    """Upload captions and their card to a data set repository; the address of the commit.

    `images`: where the captioned images come from; `licence` of the captions, and `licence_key` as the hub lists it.
    """
    with TemporaryDirectory() as folder:
        file = Path(folder) / CAPTIONS_FILE
        with replacing(file) as partial:
            write_table(records, partial, Columns(), ".parquet")
        card = captions_card(records, repository, images=images, licence=licence, licence_key=licence_key)
        (Path(folder) / "README.md").write_text(card, encoding="utf-8")
        return upload_folder(Path(folder), repository, private=private, kind="dataset")


def captions_card(
    records: Sequence[CaptionRecord], repository: str, *, images: str = "", licence: str = "", licence_key: str = ""
) -> str:
    """Markdown with the hub's metadata."""
    writers = Counter(record.captioner or "unknown" for record in records)
    size = next((name for below, name in _SIZES if len(records) < below), "n>1M")
    metadata = {
        "task_categories": ["image-to-text"],
        "size_categories": [size],
        "tags": ["captions", "text-aligned-diffusion-perception"],
        "configs": [{"config_name": "default", "data_files": CAPTIONS_FILE}],
    }
    return _CARD.format(
        metadata=front_matter({"license": licence_key, **metadata} if licence_key else metadata),
        title=repository.rpartition("/")[2],
        count=len(records),
        captioners=", ".join(f"{code(name)} ({number:,})" for name, number in writers.most_common()) or "none",
        images=code(images) if images else "unknown",
        repository=repository,
        licence=licence or "unknown",
    )
