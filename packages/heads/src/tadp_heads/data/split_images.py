"""The images of a split without their labels: what is captioned, and what a domain is learned from."""

from pathlib import Path

from tadp_heads.data.files import files_by_id, split_ids
from tadp_heads.data.readers.driving import LAYOUTS, driving_images
from tadp_heads.data.readers.user_folder import annotated_tasks
from tadp_heads.data.registry import DATASETS, open_data, split_name

_IMAGE_FOLDERS = ("images", "JPEGImages")
_LEARNED_FROM = {"dark-zurich": "train/night"}


def split_images(where: str | Path, split: str, task: str | None = None) -> dict[str, Path]:
    """{id: image file} of a split of NAME:FOLDER or of a user's folder; ids are those of the data set's reader.

    Driving data sets have splits without labels too, such as Dark Zurich's "train/night", and a user's folder may have
    no labels at all. `task`: for a user's folder with labels for several.
    """
    name, folder = split_name(where)
    if not split:
        known = f": name one of its splits {', '.join(DATASETS[name].splits)}" if name else ": name a split"
        raise ValueError(f"{where}{known}")
    if name in LAYOUTS and split not in DATASETS[name].splits:
        return driving_images(name, folder, split)
    if name is None and not annotated_tasks(folder):
        inner = next((folder / below for below in _IMAGE_FOLDERS if (folder / below).is_dir()), folder)
        files = files_by_id(inner, root=folder)
        return {image_id: files[image_id] for image_id in split_ids(folder, split, files)}
    dataset = open_data(where, task or (None if name else annotated_tasks(folder)[0]), split)
    return {image_id: dataset.image_files[image_id] for image_id in dataset.ids}


def domain_split(where: str | Path) -> str:
    """The split of NAME:FOLDER from which its domain is learned unless another is named; "" for a user's folder."""
    name = split_name(where)[0]
    return "" if name is None else _LEARNED_FROM.get(name, "train")
