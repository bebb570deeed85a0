"""Any folder that can be read, rewritten as images/, masks/, classes.txt and split files, or COCO's boxes."""

import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, PngImagePlugin

from tadp_heads.atomic_files import replacing, write_json, write_text
from tadp_heads.data.annotations.datasets import AnnotatedDataset
from tadp_heads.data.annotations.formats import open_annotations, read_annotations
from tadp_heads.data.annotations.splits import split_by_seed
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs
from tadp_heads.data.readers.split_files import CLASSES_FILE
from tadp_heads.data.readers.user_folder import annotated_splits, folder_tasks, is_drawn, open_folder
from tadp_heads.data.sample import Sample, SampleDataset
from tadp_heads.data.settings import SETTINGS_FILE, SplitSettings, read_settings
from tadp_heads.pretrained import read_json

REPORT_FILE = "import.json"
_KEY = "tadp-import"
"""Text chunk of a mask's PNG: what it was made of."""
_IMPORTED = ("segmentation", "detection")
Progress = Callable[[int, int], None]


@dataclass(kw_only=True)
class Imported:
    """What became of a folder; also the content of import.json."""

    source: str
    format: str = ""
    """How the source holds its annotations."""
    tasks: tuple[str, ...] = ()
    classes: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """By task."""
    splits: dict[str, int] = field(default_factory=dict)
    """Images of each."""
    written: int = 0
    unchanged: int = 0
    """Masks that an earlier call made of the same files."""
    dropped: list[str] = field(default_factory=list)
    """Images, or whole files, that are left out and why, one line each."""
    left_out: list[str] = field(default_factory=list)
    """Shapes without an area, one line each."""


def import_folder(
    source: Path,
    out: Path,
    task: str | None = None,
    split: SplitSettings | None = None,
    progress: Progress = lambda done, total: None,
) -> Imported:
    """Write what `source` has for segmentation and detection to `out`; `task` None: both.

    `split`: split by it, whatever splits the source has; None: the source's own or, where it has none, those of its
    tadp.toml. The same call resumes one that was killed; after more was labelled, it brings `out` up to date.
    """
    tasks = [name for name in folder_tasks(source) if name in _IMPORTED and task in (None, name)]
    if not tasks:
        wanted = task or " or ".join(_IMPORTED)
        raise DataError(source, found="no annotations for it", expected=wanted, fix="name another task or folder")
    _claim(source, out)
    done = Imported(source=str(source.resolve()), tasks=tuple(tasks))
    for name in tasks:
        dataset, splits = _opened(source, name, split, done)
        done.classes[name] = dataset.classes
        write = _write_masks if name == "segmentation" else _write_boxes
        taken = write(dataset, splits, out, done, progress)
        done.splits = {part: sum(one in taken for one in ids) for part, ids in splits.items()}
    prompts = read_settings(source).prompts
    if prompts:
        lines = [f"{_quoted(name)} = {_quoted(text)}" for name, text in prompts.items()]
        write_text(out / SETTINGS_FILE, "\n".join(["[prompts]", *lines, ""]))
    done.dropped = list(dict.fromkeys(done.dropped))
    write_json(out / REPORT_FILE, asdict(done))
    return done


def _claim(source: Path, out: Path) -> None:
    """Refuse a folder that holds anything but an import of the same source."""
    inner, outer = out.resolve(), source.resolve()
    if inner == outer or outer in inner.parents or inner in outer.parents:
        raise ValueError(f"--out {out} and the data in {source} lie in each other; name a folder next to it")
    if (out / REPORT_FILE).is_file():
        there = read_json(out / REPORT_FILE)
        other = there.get("source") if isinstance(there, dict) else None
        if other != str(outer):
            raise ValueError(f"{out} holds an import of {other}; name another --out")
    elif out.is_dir() and any(not path.name.startswith(".") for path in out.iterdir()):
        raise ValueError(f"{out} holds other files; name a new folder with --out")
    else:
        write_json(out / REPORT_FILE, asdict(Imported(source=str(outer))))


def _opened(
    source: Path, task: str, split: SplitSettings | None, done: Imported
) -> tuple[SampleDataset, dict[str, tuple[str, ...]]]:
    """The data set of every image that can be read, and its splits; the others go into `done`."""
    if is_drawn(source, task):
        annotations, drawn = read_annotations(source), open_annotations(source, task, strict=False)
        done.format, splits = annotations.format, annotations.splits
        done.dropped += drawn.problems
        done.left_out = annotations.notes
        dataset: SampleDataset = drawn
    else:
        done.format, splits = "folders", {}
        names = annotated_splits(source, task)
        dataset = open_folder(source, task, names[0] if len(names) == 1 and task == "detection" else None)
        splits = {name: open_folder(source, task, name).ids for name in names}
    if split is not None or not splits:
        splits = split_by_seed(sorted(dataset.ids), split or read_settings(source).split)
    return dataset, splits


def _write_masks(
    dataset: SampleDataset, splits: dict[str, tuple[str, ...]], out: Path, done: Imported, progress: Progress
) -> set[str]:
    taken = set()
    for number, sample_id in enumerate(dataset.ids, start=1):
        file, mask = dataset.image_files[sample_id], out / "masks" / f"{sample_id}.png"
        key = _key(dataset, sample_id)
        try:
            if _key_of(mask) == key and _is_copied(file, _place(out, sample_id, file)):
                done.unchanged += 1
            else:
                sample = dataset.read(sample_id)
                _copy(file, _place(out, sample_id, file))
                _save_mask(sample, dataset, key, mask)
                done.written += 1
            taken.add(sample_id)
        except DataError as error:
            done.dropped.append(str(error))
        progress(number, len(dataset))
    _write_lines(out / CLASSES_FILE, dataset.classes)
    for name, ids in splits.items():
        if kept := [one for one in ids if one in taken]:
            _write_lines(out / f"{name}.txt", kept)
    return taken


def _write_boxes(
    dataset: SampleDataset, splits: dict[str, tuple[str, ...]], out: Path, done: Imported, progress: Progress
) -> set[str]:
    """annotations/instances_SPLIT.json of COCO's form; the images lie in images/ for all."""
    entries: dict[str, tuple[dict[str, Any], list[dict[str, Any]]]] = {}
    for number, sample_id in enumerate(dataset.ids, start=1):
        file = dataset.image_files[sample_id]
        try:
            entries[sample_id] = _coco_entries(dataset.read(sample_id), f"{sample_id}{file.suffix}")
            _copy(file, _place(out, sample_id, file))
        except DataError as error:
            done.dropped.append(str(error))
        progress(number, len(dataset))
    done.written += len(entries) if "segmentation" not in done.classes else 0
    categories = [{"id": number, "name": name} for number, name in enumerate(dataset.classes, start=1)]
    for name, ids in splits.items():
        kept = [entries[one] for one in ids if one in entries]
        images = [image | {"id": number} for number, (image, _) in enumerate(kept, start=1)]
        boxes = [box | {"image_id": number} for number, (_, part) in enumerate(kept, start=1) for box in part]
        boxes = [box | {"id": number} for number, box in enumerate(boxes, start=1)]
        content = {"images": images, "categories": categories, "annotations": boxes}
        write_json(out / "annotations" / f"instances_{name}.json", content)
    return set(entries)


def _coco_entries(sample: Sample, file_name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """An image of COCO's tables and its annotations, without ids."""
    height, width = sample.image.shape[-2:]
    target = sample.target
    rows = zip(target["boxes"].tolist(), target["labels"].tolist(), target["difficult"].tolist(), strict=True)
    boxes = [
        {
            "category_id": label + 1,
            "bbox": [left, top, right - left, bottom - top],
            "area": (right - left) * (bottom - top),
            "iscrowd": int(crowd),
        }
        for (left, top, right, bottom), label, crowd in rows
    ]
    return {"file_name": file_name, "width": width, "height": height}, boxes


def _place(out: Path, sample_id: str, file: Path) -> Path:
    return out / "images" / f"{sample_id}{file.suffix}"


def _is_copied(file: Path, place: Path) -> bool:
    if not place.is_file():
        return False
    here, there = file.stat(), place.stat()
    return here.st_size == there.st_size and here.st_mtime_ns == there.st_mtime_ns


def _copy(file: Path, place: Path) -> None:
    """With the time of its last change, by which the next call knows it."""
    if not _is_copied(file, place):
        with replacing(place) as partial:
            shutil.copy2(file, partial)


def _save_mask(sample: Sample, dataset: SampleDataset, key: str, path: Path) -> None:
    image = Image.fromarray(sample.target.numpy().astype(np.uint8), mode="P")
    colors = [channel for color in dataset.palette for channel in color]
    image.putpalette(colors + [0] * (765 - len(colors)) + [224, 224, 192])  # VOC's colour of ignored pixels
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, key)
    with replacing(path) as partial:
        image.save(partial, format="PNG", pnginfo=info)


def _key(dataset: SampleDataset, sample_id: str) -> str:
    """Of all that the mask depends on: the image file, the annotation file and the classes."""
    how: tuple[object, object]
    if isinstance(dataset, AnnotatedDataset):
        source, how = dataset.images[sample_id].source, (dataset.table.ids, dataset.table.unlabelled)
    elif isinstance(dataset, SegmentationPairs):
        colors = None if dataset.colors is None else dataset.colors.colors
        source, how = dataset.pairs[sample_id][1], (dataset.lookup.tolist(), colors)
    else:
        raise TypeError(type(dataset).__name__)
    states = [
        (str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in (source, dataset.image_files[sample_id])
    ]
    return blake2b(repr((states, how, dataset.classes)).encode(errors="surrogateescape"), digest_size=16).hexdigest()


def _key_of(mask: Path) -> str | None:
    """What an earlier call made the mask of."""
    try:
        with Image.open(mask) as image:
            return image.info.get(_KEY)
    except (OSError, SyntaxError, ValueError):
        return None


def _write_lines(path: Path, lines: Any) -> None:
    write_text(path, "".join(f"{line}\n" for line in lines))


def _quoted(text: str) -> str:
    """A basic string of TOML."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in escaped) + '"'
