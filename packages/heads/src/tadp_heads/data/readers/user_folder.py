"""A user's own folder, whatever its task: recognised and opened."""

import os
from pathlib import Path
from typing import TypeVar

from tadp_heads.data.annotations.coco import has_outlines
from tadp_heads.data.annotations.formats import (
    annotation_format,
    annotation_tasks,
    open_annotations,
    read_annotations,
)
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder
from tadp_heads.data.readers.coco import CocoDetection
from tadp_heads.data.readers.depth_folder import DepthFolder, depth_files
from tadp_heads.data.readers.segmentation_folder import SegmentationFolder, has_masks, mask_files, split_folder
from tadp_heads.data.readers.split_files import CLASSES_FILE, SPLITS, listed_id, split_files
from tadp_heads.data.readers.voc_detection import VOCDetection
from tadp_heads.data.readers.xml_files import read_xml
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import SampleDataset, Transform
from tadp_heads.data.settings import SETTINGS_FILE, read_settings

Dataset = TypeVar("Dataset", bound=SampleDataset)
_LAYOUTS = (
    "segmentation: images/ masks/ classes.txt; depth: images/ depth/; detection: JPEGImages/ Annotations/ or COCO's "
    "annotations/instances_SPLIT.json; or the files of LabelMe, COCO, YOLO, CVAT (for images) or Label Studio next to "
    "the images"
)


def folder_tasks(root: str | Path) -> tuple[str, ...]:
    """The tasks that the folder's layout has annotations for; none is an error."""
    root = require_folder(Path(root), f"a data set ({_LAYOUTS})")
    tasks = annotated_tasks(root)
    if not tasks:
        raise DataError(root, found="none of the layouts", expected=_LAYOUTS, fix="rename the folders")
    return tasks


def annotated_tasks(root: Path) -> tuple[str, ...]:
    """`folder_tasks` of what may be no data set at all, such as a folder of images: it has none."""
    outlines = has_masks(root) or any(has_outlines(path) for path in coco_files(root).values())
    boxes = (root / "Annotations").is_dir() or bool(coco_files(root))
    there = {"segmentation": outlines, "depth": (root / "depth").is_dir(), "detection": boxes}
    tasks = tuple(task for task, is_there in there.items() if is_there)
    if not tasks and root.is_dir() and annotation_format(root) is not None:
        return annotation_tasks(read_annotations(root))
    return tasks


def is_drawn(root: Path, task: str) -> bool:
    """Whether the task's targets are drawn of the shapes of an annotation tool."""
    if task == "segmentation":
        return not has_masks(root)
    return task == "detection" and not (root / "Annotations").is_dir() and not (coco_files(root) and _as_it_is(root))


def _as_it_is(root: Path) -> bool:
    """Whether tadp.toml leaves the classes of boxes as they are."""
    settings = read_settings(root)
    return not (settings.classes or settings.ignore or settings.remap)


def annotated_splits(root: Path, task: str) -> tuple[str, ...]:
    """The splits with an annotated image, sorted; also one in which others have none, which is an error when read."""
    if task not in annotated_tasks(root):
        return ()
    if is_drawn(root, task):
        return tuple(sorted(split for split, ids in read_annotations(root).splits.items() if ids))
    if task != "detection":
        _, targets = mask_files(root) if task == "segmentation" else depth_files(root)
        folder = split_folder(root) if task == "segmentation" else root
        lists = {path.stem: read_lines(inside(root, path), "image ids") for path in split_files(folder, targets)}
        return tuple(split for split, lines in lists.items() if targets.keys() & set(lines))
    if not (root / "Annotations").is_dir():
        return tuple(split for split in coco_files(root) if any(open_coco(root, split, None).objects.values()))
    known = files_by_id(root / "Annotations", (".xml",), root).keys()
    lists = {path.stem: read_lines(inside(root, path), "image ids") for path in split_files(root / SPLITS, known)}
    return tuple(split for split, lines in lists.items() if known & {listed_id(line, known) for line in lines})


def open_folder(
    root: str | Path,
    task: str | None = None,
    split: str | None = None,
    transform: Transform | None = None,
) -> SampleDataset:
    """The data set in a user's folder; `task` None: the only one it has annotations for."""
    root, tasks = Path(root), folder_tasks(root)
    if task is None and len(tasks) > 1:
        raise ValueError(f"{root} has annotations for {', '.join(tasks)}: name the task")
    task = task or tasks[0]
    if task not in tasks:
        raise DataError(
            root, found=f"annotations for {', '.join(tasks)}", expected=f"those for {task}", fix="name another task"
        )
    if is_drawn(root, task):
        return open_annotations(root, task, split, transform)
    if task == "segmentation":
        return SegmentationFolder(root, split, transform)
    if task == "depth":
        return DepthFolder(root, split, transform)
    if (root / "Annotations").is_dir():
        return prompted(VOCDetection(root, split, box_classes(root), transform), root)
    return prompted(open_coco(root, split, transform), root)


def prompted(dataset: Dataset, root: Path) -> Dataset:
    """The data set with its classes as tadp.toml names them in prompts."""
    settings = read_settings(root)
    settings.check_prompts(dataset.classes, root)
    dataset.prompt_names = settings.prompt_names(dataset.classes, dataset.prompt_names)
    return dataset


def box_classes(root: Path, skip_malformed: bool = False) -> tuple[str, ...]:
    """Names of classes.txt, or those that occur in any annotation.

    A malformed annotation is an error, unless `skip_malformed`: a check reads each again and reports it.
    """
    settings = read_settings(root)
    if settings.ignore or settings.remap:
        raise DataError(
            root / SETTINGS_FILE,
            found="ignore or remap for boxes in VOC's XML",
            expected="classes and prompts alone",
            fix="rename the classes in the XML files",
        )
    if settings.classes:
        return settings.classes
    if (root / CLASSES_FILE).is_file():
        return read_lines(inside(root, root / CLASSES_FILE), "class names")
    names: set[str] = set()
    for path in sorted((root / "Annotations").glob("[!.]*.xml")):
        try:
            names |= _object_names(inside(root, path))
        except DataError:
            if not skip_malformed:
                raise
    if not names:
        raise DataError(root / "Annotations", found="no object", expected="VOC annotations", fix="label some objects")
    return tuple(sorted(names))


def _object_names(path: Path) -> set[str]:
    found = {(item.findtext("name") or "").strip() for item in read_xml(path).iter("object")}
    if "" in found:
        raise DataError(path, found="an object without a name", expected="<name>", fix="name or delete it")
    return found


def coco_files(root: Path) -> dict[str, Path]:
    """{split: instances file}."""
    files = sorted((root / "annotations").glob("instances_*.json"))
    return {path.stem.removeprefix("instances_"): path for path in files}


def open_coco(root: Path, split: str | None, transform: Transform | None) -> CocoDetection:
    """Images lie in a folder named like the split, there or in images/, or in images/ itself."""
    files = coco_files(root)
    if split is None and len(files) == 1:
        split = next(iter(files))
    if split not in files:
        raise DataError(
            root / "annotations",
            found=f"the splits {', '.join(files)}",
            expected="one of them to be named" if split is None else f"instances_{split}.json",
            fix="name one of those splits",
        )
    places = (root / split, root / "images" / split, root / "images")
    there = [inside(root, place) for place in places if place.is_dir()] or [places[-1]]
    dataset = CocoDetection(there[0], inside(root, files[split]), transform)
    first = next(iter(dataset.files.values()), "")
    dataset.root = next((place for place in there if os.path.isfile(place / first)), there[0])
    return dataset
