"""Default models: the tiny ones for Scenes and without data, else Stable Diffusion's."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tadp_heads.data.scenes.marker import is_scenes

TINY = "tiny"
"""Backbone and captioner that come with the packages."""
BACKBONE, CAPTIONER = "sd15", "blip2"
"""Those for all data but Scenes."""
PURPOSE = "the tiny models come with tadp and know only Scenes: good for trying every step, no models of photographs"


def default_backbone(data: Iterable[str | Path]) -> str:
    """The backbone for these folders, files or NAME:FOLDER of data sets, where none is named."""
    return TINY if are_scenes(data) else BACKBONE


def default_captioner(data: Iterable[str | Path], backbone: str = "") -> str:
    """The captioner for the same; `backbone`: the one that its captions are for, "" where there is none."""
    data = list(data)
    return TINY if backbone == TINY or (are_scenes(data) and (data or not backbone)) else CAPTIONER


def default_recipe(data: str | Path | None) -> str:
    """The recipe for a data set, where none is named: of its task, segmentation where it has labels for several."""
    from tadp_heads.data.readers.user_folder import annotated_tasks
    from tadp_heads.data.registry import DATASETS, split_name

    if data is None:
        return "scenes-segmentation"
    name, folder = split_name(data)
    task = next(iter((DATASETS[name].task,) if name else annotated_tasks(folder)), "segmentation")
    return f"scenes-{task}" if is_scenes(data) else task


def are_scenes(data: Iterable[str | Path]) -> bool:
    """Whether all data are Scenes; true for no data."""
    return all(map(is_scenes, {_seen_once(Path(where)) for where in data}))


def _seen_once(path: Path) -> Path:
    """The folder of a file: of many images in one folder only one is opened."""
    return path.parent if path.suffix and path.is_file() else path


@contextmanager
def naming_tiny(name: str, option: str) -> Iterator[None]:
    """Around the loading of the model `name`: where a default one is not available, the error names `option` too."""
    try:
        yield
    except (FileNotFoundError, ValueError) as error:
        missing = isinstance(error, FileNotFoundError) or isinstance(error.__cause__, OSError)
        if not missing or name not in (BACKBONE, CAPTIONER):
            raise
        kind = FileNotFoundError if isinstance(error, FileNotFoundError) else ValueError
        raise kind(f"{error}; or take {option}: {PURPOSE}") from error
