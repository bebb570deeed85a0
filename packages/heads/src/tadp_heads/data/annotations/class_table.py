"""From the labels of annotation files to class ids."""

from dataclasses import dataclass
from pathlib import Path

from tadp_heads.data.annotations.shapes import AnnotatedImage, Annotations
from tadp_heads.data.class_names import default_prompt_names, is_background
from tadp_heads.data.errors import DataError
from tadp_heads.data.sample import IGNORE_INDEX
from tadp_heads.data.settings import BACKGROUND, DataSettings

_IGNORED = ("__ignore__",)
"""LabelMe's own name for regions that count nowhere."""
_MOST_CLASSES = 255


@dataclass(frozen=True)
class ClassTable:
    """Which class a label is."""

    classes: tuple[str, ...]
    prompt_names: tuple[str, ...]
    ids: dict[str, int]
    """{label: class id, or IGNORE_INDEX}."""
    unlabelled: int = IGNORE_INDEX
    """The class id, or IGNORE_INDEX, of pixels without a shape."""

    def unknown(self, image: AnnotatedImage) -> str | None:
        """What is wrong with an image whose label is of no class, in one line; it would become a wrong mask."""
        for shape in image.shapes:
            if shape.label not in self.ids:
                error = DataError(
                    image.source,
                    found=f"the label {shape.label!r} in {shape.place} of {image.file.name}",
                    expected=f"one of {', '.join(self.classes)}",
                    fix="correct it, or name it in tadp.toml under remap or ignore",
                )
                return str(error)
        return None


def class_table(annotations: Annotations, settings: DataSettings, task: str, root: Path) -> ClassTable:
    """Classes as the settings or the files declare them, else the labels that occur, sorted."""
    occurring = sorted({shape.label for image in annotations.images.values() for shape in image.shapes})
    labels = occurring if annotations.labels is None else annotations.labels
    ignored = {str(label) for label in settings.ignore} | set(_IGNORED)
    renamed = {label: settings.remap.get(label, label) for label in (*labels, *occurring) if label not in ignored}
    known = dict.fromkeys(renamed[label] for label in labels if label in renamed)
    names = [name for name in settings.classes or known if task == "segmentation" or not is_background(name)]
    unlabelled = IGNORE_INDEX
    if task == "segmentation" and settings.unlabelled == BACKGROUND:
        if not any(map(is_background, names)):
            names.insert(0, BACKGROUND)
        unlabelled = next(index for index, name in enumerate(names) if is_background(name))
    if len(names) > _MOST_CLASSES or not names:
        raise DataError(
            root, found=f"{len(names)} classes", expected=f"1 to {_MOST_CLASSES}", fix="label objects, or merge classes"
        )
    index = {name: number for number, name in enumerate(names)}
    ids = {label: index[name] for label, name in renamed.items() if name in index}
    ids |= dict.fromkeys(ignored, IGNORE_INDEX)
    if task == "detection":
        ids |= {label: IGNORE_INDEX for label, name in renamed.items() if is_background(name)}
    classes = tuple(names)
    settings.check_prompts(classes, root)
    return ClassTable(classes, settings.prompt_names(classes, default_prompt_names(classes)), ids, unlabelled)
