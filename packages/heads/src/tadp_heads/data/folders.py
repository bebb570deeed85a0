"""A user's own folder, whatever its task: recognised, opened and checked."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from tadp_heads.data import segmentation_folder
from tadp_heads.data.check import CheckReport, Inspection, inspect_all
from tadp_heads.data.coco import CocoDetection
from tadp_heads.data.depth_folder import DepthFolder, read_pair
from tadp_heads.data.errors import DataError
from tadp_heads.data.reading import files_by_id, read_lines, require_folder
from tadp_heads.data.sample import SampleDataset, Transform
from tadp_heads.data.segmentation_folder import CLASSES_FILE, SegmentationFolder, check_splits
from tadp_heads.data.voc import VOCDetection
from tadp_heads.depth.files import DEPTH_SUFFIXES

_LAYOUTS = (
    "segmentation: images/ masks/ classes.txt; depth: images/ depth/; detection: JPEGImages/ Annotations/ or COCO's "
    "annotations/instances_SPLIT.json"
)


def folder_tasks(root: str | Path) -> tuple[str, ...]:
    """The tasks that the folder's layout has annotations for; none is an error."""
    root = require_folder(Path(root), f"a data set ({_LAYOUTS})")
    tasks = [task for task, name in (("segmentation", "masks"), ("depth", "depth")) if (root / name).is_dir()]
    if (root / "Annotations").is_dir() or _coco_files(root):
        tasks.append("detection")
    if not tasks:
        raise DataError(root, found="none of the layouts", expected=_LAYOUTS, fix="rename the folders")
    return tuple(tasks)


def open_folder(
    root: str | Path,
    task: str | None = None,
    split: str | None = None,
    transform: Transform | None = None,
    classes: Sequence[str] | None = None,
) -> SampleDataset:
    """The data set in a user's folder; `task` None: the only one it has annotations for.

    `classes` are those of VOC-style boxes; None: classes.txt where there is one, else the names that occur, sorted.
    """
    root, tasks = Path(root), folder_tasks(root)
    if task is None and len(tasks) > 1:
        raise ValueError(f"{root} has annotations for {', '.join(tasks)}: name the task")
    task = task or tasks[0]
    if task not in tasks:
        raise DataError(
            root, found=f"annotations for {', '.join(tasks)}", expected=f"those for {task}", fix="name another task"
        )
    if task == "segmentation":
        return SegmentationFolder(root, split, transform)
    if task == "depth":
        return DepthFolder(root, split, transform)
    if (root / "Annotations").is_dir():
        return VOCDetection(root, split, classes or _box_classes(root), transform)
    return _open_coco(root, split, transform)


def check_folder(root: str | Path, task: str | None = None) -> list[CheckReport]:
    """One report a task; `task` None: all that the folder has annotations for."""
    root, tasks = Path(root), folder_tasks(root)
    if task is not None and task not in tasks:
        raise DataError(
            root, found=f"annotations for {', '.join(tasks)}", expected=f"those for {task}", fix="name another task"
        )
    checks = {"segmentation": segmentation_folder.check, "depth": _check_depth, "detection": _check_detection}
    return [checks[name](root) for name in tasks if task in (None, name)]


def _check_depth(root: Path) -> CheckReport:
    images = files_by_id(require_folder(root / "images", "a folder of images"))
    maps = files_by_id(require_folder(root / "depth", "a folder of depth maps"), DEPTH_SUFFIXES)
    problems = [
        str(DataError(images[name], found="no depth map of its name", expected=f"depth/{name}.png", fix="add it"))
        for name in sorted(set(images) - set(maps))
    ]
    problems += [
        str(DataError(maps[name], found="no image of its name", expected=f"images/{name}.*", fix="add or delete it"))
        for name in sorted(set(maps) - set(images))
    ]

    def inspect(sample_id: str) -> Inspection:
        image, depth, _ = read_pair(images[sample_id], maps[sample_id], sample_id)
        size, valid = (image.shape[-1], image.shape[-2]), depth[depth > 0]
        if not valid.numel() or valid.max() < 0.05:
            raise DataError(
                maps[sample_id],
                found=f"no depth above {float(valid.max()) if valid.numel() else 0:g} m",
                expected="16-bit PNG in millimetres or .npy in metres",
                fix="convert the units",
            )
        return Inspection(size=size, depth_range_m=(float(valid.min()), float(valid.max())))

    both = [name for name in images if name in maps]
    return inspect_all(root, "depth", (), both, inspect, problems=[*problems, *check_splits(root, images)])


def _check_detection(root: Path) -> CheckReport:
    try:
        dataset = open_folder(root, "detection")
    except DataError as error:
        return inspect_all(root, "detection", (), (), lambda _: Inspection(), problems=[str(error)])

    def inspect(sample_id: str) -> Inspection:
        image, target, _ = dataset.read(sample_id)
        return Inspection(size=(image.shape[-1], image.shape[-2]), counts=Counter(target["labels"].tolist()))

    warnings = []
    if isinstance(dataset, VOCDetection):
        bare = len(set(dataset.image_files) - set(dataset.ids))
        warnings = [f"{root}: {bare} images without an annotation file, which are left out"] if bare else []
    elif dataset.skipped:
        warnings = [f"{root}: {len(dataset.skipped)} boxes without area, which are left out"]
    return inspect_all(root, "detection", dataset.classes, dataset.ids, inspect, warnings=warnings)


def _box_classes(root: Path) -> tuple[str, ...]:
    """Names of classes.txt, or those that occur in any annotation."""
    if (root / CLASSES_FILE).is_file():
        return read_lines(root / CLASSES_FILE, "class names")
    names: set[str] = set()
    for path in sorted((root / "Annotations").glob("*.xml")):
        try:
            found = {(item.findtext("name") or "").strip() for item in ElementTree.parse(path).iter("object")}
        except ElementTree.ParseError as error:
            raise DataError(
                path, found=f"no valid XML ({error})", expected="a VOC annotation", fix="write it again"
            ) from error
        if "" in found:
            raise DataError(path, found="an object without a name", expected="<name>", fix="name or delete it")
        names |= found
    if not names:
        raise DataError(root / "Annotations", found="no object", expected="VOC annotations", fix="label some objects")
    return tuple(sorted(names))


def _coco_files(root: Path) -> dict[str, Path]:
    """{split: instances file}."""
    files = sorted((root / "annotations").glob("instances_*.json"))
    return {path.stem.removeprefix("instances_"): path for path in files}


def _open_coco(root: Path, split: str | None, transform: Transform | None) -> CocoDetection:
    """Images lie in a folder named like the split, or in images/."""
    files = _coco_files(root)
    if split is None and len(files) == 1:
        split = next(iter(files))
    if split not in files:
        raise DataError(
            root / "annotations",
            found=f"the splits {', '.join(files)}",
            expected="one of them to be named" if split is None else f"instances_{split}.json",
            fix="name one of those splits",
        )
    images = root / split if (root / split).is_dir() else root / "images"
    return CocoDetection(images, files[split], transform)
