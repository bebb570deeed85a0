"""Checks a user's own folder: every file is read, and all problems are reported at once."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from itertools import combinations
from pathlib import Path

from tadp_heads.data.annotations.formats import open_annotations, read_annotations
from tadp_heads.data.check.dataset import CheckReport, check_dataset, unopened
from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder
from tadp_heads.data.readers.depth_folder import DepthPairs, depth_files
from tadp_heads.data.readers.segmentation_folder import mask_files, mask_reading, split_folder
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs
from tadp_heads.data.readers.split_files import SPLITS, listed_id, split_files
from tadp_heads.data.readers.user_folder import box_classes, coco_files, folder_tasks, is_drawn, open_coco, prompted
from tadp_heads.data.readers.voc_detection import VOCDetection
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.settings import read_settings


def check_folder(root: str | Path, task: str | None = None) -> list[CheckReport]:
    """One report per task, and per split of COCO's; `task` None: all that the folder has annotations for.

    Only a folder of none of the layouts raises.
    """
    root, tasks = Path(root), folder_tasks(root)
    if task is not None and task not in tasks:
        raise DataError(
            root, found=f"annotations for {', '.join(tasks)}", expected=f"those for {task}", fix="name another task"
        )
    return [report for name in tasks if task in (None, name) for report in _CHECKS[name](root)]


def _check_segmentation(root: Path) -> list[CheckReport]:
    images, masks = mask_files(root)
    reading = mask_reading(root, masks)
    both = {name: (images[name], masks[name]) for name in images if name in masks}
    problems, notes = _unpaired(images, masks, "masks/{}.png", split_folder(root))
    problems += _split_problems(root, split_folder(root), images)
    title = "masks of ids" if reading["colors"] is None else "masks of colours"
    return [check_dataset(root, SegmentationPairs(both, **reading), problems=problems, warnings=notes, layout=title)]


def _check_drawn(root: Path, task: str) -> list[CheckReport]:
    """Of the shapes of an annotation tool."""
    dataset, annotations = open_annotations(root, task, strict=False), read_annotations(root)
    problems, notes = dataset.problems, annotations.notes
    return [check_dataset(root, dataset, problems=problems, warnings=notes, layout=annotations.format)]


def _check_depth(root: Path) -> list[CheckReport]:
    images, maps = depth_files(root)
    both = {name: (images[name], maps[name]) for name in images if name in maps}
    problems, notes = _unpaired(images, maps, "depth/{}.png, .npy or .tiff", root)
    problems += _split_problems(root, root, images)
    dataset = DepthPairs(both, settings=read_settings(root).depth)
    return [check_dataset(root, dataset, problems=problems, warnings=notes, layout="depth maps")]


def _check_detection(root: Path) -> list[CheckReport]:
    if not (root / "Annotations").is_dir():
        return [_check_coco(root, split) for split in coco_files(root)]
    images = files_by_id(require_folder(root / "JPEGImages", "VOC's folder of images", root), root=root)
    annotations = files_by_id(root / "Annotations", (".xml",), root)
    problems = [
        str(DataError(annotations[name], found="no image of its name", expected=f"JPEGImages/{name}.*", fix="add it"))
        for name in annotations
        if name not in images
    ]
    problems += _split_problems(root, root / SPLITS, annotations)
    bare = sum(name not in annotations for name in images)
    warnings = [f"{root}: {bare} images without an annotation file, which are left out"] if bare else []
    classes = box_classes(root, skip_malformed=True)
    dataset = VOCDetection(root, classes=classes, ids=[name for name in annotations if name in images])
    return [check_dataset(root, prompted(dataset, root), problems=problems, warnings=warnings, layout="VOC XML")]


def _check_coco(root: Path, split: str) -> CheckReport:
    try:
        dataset = prompted(open_coco(root, split, None), root)
    except DataError as error:
        return unopened(root, "detection", error)
    skipped = len(dataset.skipped)
    warnings = [f"{dataset.path}: {skipped} empty boxes (no area), which are left out"] if skipped else []
    return check_dataset(root, dataset, warnings=warnings, layout="COCO JSON")


def _reporting(task: str, check: Callable[[Path], list[CheckReport]]) -> Callable[[Path], list[CheckReport]]:
    """What keeps a data set from being opened at all becomes its one problem."""

    def checked(root: Path) -> list[CheckReport]:
        try:
            return _check_drawn(root, task) if is_drawn(root, task) else check(root)
        except DataError as error:
            return [unopened(root, task, error)]

    return checked


_CHECKS = {
    "segmentation": _reporting("segmentation", _check_segmentation),
    "depth": _reporting("depth", _check_depth),
    "detection": _reporting("detection", _check_detection),
}


def _unpaired(
    images: Mapping[str, Path], targets: Mapping[str, Path], expected: str, folder: Path
) -> tuple[list[str], list[str]]:
    """(problems, notes) on images without a target and the other way round.

    Readers leave out what no split file of `folder` lists: there it is a note.
    """
    kind = expected.split("/")[0].removesuffix("s")
    kind = "depth map" if kind == "depth" else kind
    bare = {n: (images[n], f"no {kind} of its name", expected.format(n)) for n in images if n not in targets}
    bare |= {n: (targets[n], "no image of its name", f"images/{n}.*") for n in targets if n not in images}
    listed = _listed(folder, {*images, *targets})
    reports: tuple[list[str], list[str]] = ([], [])
    for name, (path, found, wanted) in bare.items():
        left_out = listed and name not in listed
        fix = "add it, or leave it: no split lists it" if left_out else "add it, or delete this one"
        reports[bool(left_out)].append(str(DataError(path, found=found, expected=wanted, fix=fix)))
    return reports


def _listed(folder: Path, known: set[str]) -> set[str]:
    """The ids in all split files; a malformed one, which is a problem of its own, has none."""
    ids: set[str] = set()
    for path in split_files(folder, known):
        with suppress(DataError):
            ids.update(read_lines(path, "image ids"))
    return ids


def _split_problems(root: Path, folder: Path, known: Iterable[str]) -> list[str]:
    """Problems of the split files: malformed ones, unknown ids, ids shared by train and another."""
    known, problems, splits = set(known), [], {}
    for path in split_files(folder, known):
        try:
            lines = read_lines(inside(root, path), "image ids")
            splits[path.stem] = ids = {listed_id(line, known) if folder != root else line for line in lines}
        except DataError as error:
            problems.append(str(error))
            continue
        unknown = sorted(ids - known)
        if unknown:
            problem = DataError(
                path,
                found=f"id {unknown[0]!r} and {len(unknown) - 1} more without an image",
                expected="names of annotated images, without folder and suffix",
                fix="correct the ids or add the images",
            )
            problems.append(str(problem))
    for first, second in combinations(splits, 2):
        shared = sorted(splits[first] & splits[second])
        if shared and not _may_overlap(first, second):
            problem = DataError(
                folder / f"{first}.txt",
                found=f"{len(shared)} ids that are also in {second}.txt, such as {shared[0]!r}",
                expected="no image both for training and for evaluation",
                fix="take them off one of the two files",
            )
            problems.append(str(problem))
    return problems


def _may_overlap(first: str, second: str) -> bool:
    """Splits of one purpose (val and val_small), and trainval with the validation images that it is made of."""
    if "trainval" in (first, second) and (first.startswith("val") or second.startswith("val")):
        return True
    return ("train" in first) == ("train" in second)
