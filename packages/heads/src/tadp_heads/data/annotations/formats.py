"""The formats of annotation tools by name, and which of them a folder holds."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from tadp_heads._registry import Registry
from tadp_heads.data.annotations.coco import is_coco, read_coco
from tadp_heads.data.annotations.cvat import is_cvat, read_cvat
from tadp_heads.data.annotations.datasets import AnnotatedDataset, AnnotatedDetection, AnnotatedSegmentation
from tadp_heads.data.annotations.json_files import json_files, read_object
from tadp_heads.data.annotations.label_studio import is_label_studio, read_label_studio
from tadp_heads.data.annotations.labelme import is_labelme, read_labelme
from tadp_heads.data.annotations.shapes import Annotations
from tadp_heads.data.annotations.splits import split_by_seed
from tadp_heads.data.annotations.yolo import is_yolo, read_yolo
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import read_lines, split_ids
from tadp_heads.data.readers.split_files import CLASSES_FILE, split_files
from tadp_heads.data.readers.xml_files import read_xml
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import Transform
from tadp_heads.data.settings import SETTINGS_FILE, DataSettings, read_settings


@dataclass(frozen=True)
class AnnotationFormat:
    """One tool's files."""

    title: str
    """As messages name it."""
    recognizes: Callable[[Path], bool]
    """(root) -> whether the folder holds such files."""
    read: Callable[[Path], Annotations]


FORMATS = Registry(
    "annotation format",
    {
        "labelme": AnnotationFormat("LabelMe JSON", is_labelme, read_labelme),
        "coco": AnnotationFormat("COCO JSON", is_coco, read_coco),
        "yolo": AnnotationFormat("YOLO", is_yolo, read_yolo),
        "cvat": AnnotationFormat("CVAT for images XML", is_cvat, read_cvat),
        "label-studio": AnnotationFormat("Label Studio JSON", is_label_studio, read_label_studio),
    },
)
_TASKS: dict[str, type[AnnotatedDataset]] = {"segmentation": AnnotatedSegmentation, "detection": AnnotatedDetection}


def annotation_format(root: Path) -> str | None:
    """The name of the folder's format, as tadp.toml has it or as its files show; None: it holds none of them."""
    given = read_settings(root).format
    if given:
        if given not in FORMATS:
            raise DataError(
                root / SETTINGS_FILE,
                found=f"format {given!r}",
                expected=f"one of {', '.join(FORMATS)}",
                fix="correct it",
            )
        return given
    found = [name for name, one in FORMATS.items() if one.recognizes(root)]
    if len(found) > 1:
        raise DataError(
            root,
            found=f"files of several formats ({', '.join(found)})",
            expected="those of one",
            fix=f'write format = "NAME" into {SETTINGS_FILE}',
        )
    return found[0] if found else None


def read_annotations(root: Path) -> Annotations:
    """The annotations of a folder in one of FORMATS, with its split files or, where it has none, split by seed."""
    return _read(root, annotation_format(root), _fingerprint(root))


@lru_cache(maxsize=4)
def _read(root: Path, name: str, fingerprint: bytes) -> Annotations:
    annotations = FORMATS[name].read(root)
    if not annotations.images:
        first = annotations.problems[0] if annotations.problems else _damaged(root)
        raise (
            DataError(first)
            if first
            else DataError(
                root, found="no annotated image", expected=FORMATS[name].title, fix="copy the images next to the files"
            )
        )
    splits = annotations.splits
    if not splits:
        lists = [path.stem for path in split_files(root, annotations.images)]
        splits = {split: split_ids(root, split, annotations.images) for split in lists}
    return replace(annotations, splits=splits or split_by_seed(sorted(annotations.images), read_settings(root).split))


def _damaged(root: Path) -> str:
    """What is wrong with the first file that is no JSON or XML at all; "" where there is none."""
    readers = [(path, read_object) for path in json_files(root)]
    readers += [(inside(root, path), read_xml) for path in sorted(root.rglob("*.xml"))]
    for path, read in readers:
        try:
            read(path)
        except DataError as error:
            return str(error)
    return ""


def annotation_tasks(annotations: Annotations) -> tuple[str, ...]:
    """Boxes alone are for detection; outlines are for both."""
    return ("segmentation", "detection") if annotations.has_regions else ("detection",)


def open_annotations(
    root: Path, task: str, split: str | None = None, transform: Transform | None = None, *, strict: bool = True
) -> AnnotatedDataset:
    """The folder as a data set; `split` None: every image. What cannot be read is an error, or if not `strict` left
    out and named in the data set's `problems`."""
    annotations = read_annotations(root)
    if split is not None and split not in annotations.splits:
        known = ", ".join(annotations.splits)
        raise DataError(
            root, found=f"the splits {known}", expected=f"{split!r} among them", fix="name one of those splits"
        )
    ids = None if split is None else annotations.splits[split]
    dataset = _TASKS[task](annotations, class_settings(root), root, ids, transform)
    if strict and dataset.problems:
        more = len(dataset.problems) - 1
        raise DataError(f"{dataset.problems[0]}{f' (and {more} more: `tadp data check` lists them)' if more else ''}")
    return dataset


def class_settings(root: Path) -> DataSettings:
    """The folder's settings, with the classes of classes.txt where tadp.toml has none."""
    settings = read_settings(root)
    if settings.classes or not (root / CLASSES_FILE).is_file():
        return settings
    return replace(settings, classes=read_lines(root / CLASSES_FILE, "class names"))


def _fingerprint(root: Path) -> bytes:
    """Of what `read_annotations` depends on: the annotation files' contents and the names of all others."""
    digest = blake2b()
    for path in sorted(root.rglob("*")):
        if path.is_file():
            digest.update(str(path).encode(errors="surrogateescape"))
            if path.suffix.lower() in (".json", ".xml", ".txt", ".yaml", ".yml", ".toml"):
                with path.open("rb") as file:
                    while part := file.read(1 << 20):
                        digest.update(part)
    return digest.digest()
