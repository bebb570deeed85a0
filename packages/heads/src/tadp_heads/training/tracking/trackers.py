"""Experiment trackers (TensorBoard, Weights & Biases, Trackio, ...) through accelerate's interface.

Packages do not import each other, so each that trains has its own copy, kept equal by a test.
"""

import json
import math
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from PIL import Image

TRACKERS = ("aim", "clearml", "comet_ml", "dvclive", "mlflow", "swanlab", "tensorboard", "trackio", "wandb")
"""Names that accelerate knows."""
FOLDER = "tracking"
"""Below a run's folder: event files of TensorBoard, offline records of others, and the identity of the record."""
PROJECT = "tadp"
_IDENTITY = "identity.json"
_SERVICES = ("trackio", "wandb")
"""Those that find a record again by its name or identity, and take the settings when they open it."""


def check_trackers(names: Sequence[str]) -> None:
    """Raise ValueError for a tracker that is not installed."""
    if not names:
        return
    from accelerate.tracking import get_available_trackers

    there = {str(getattr(name, "value", name)) for name in get_available_trackers()}
    missing = [name for name in names if name not in there]
    if missing:
        raise ValueError(
            f"log_with {', '.join(missing)}: not installed; pip install {' '.join(missing)}, or leave it out"
        )


class Trackers:
    """A run's record in each of the trackers `names`; without names nothing is imported or written.

    A context manager. A run that resumes in the same folder continues its record: what was recorded after the state
    that it resumes from is dropped, where the tracker can (TensorBoard), and recorded again.
    """

    def __init__(
        self, names: Sequence[str], folder: Path, *, settings: Mapping[str, Any], texts: Mapping[str, str] | None = None
    ) -> None:
        """`settings`: {dotted name: value} of the run; `texts`: {name: longer text}, such as its recipe."""
        self.names, self.folder = tuple(names), folder
        self.settings, self.texts = settings, texts or {}
        self._open: list[Any] = []

    def start(self, begun: int) -> None:
        """Open the trackers for a run of which `begun` steps are done; does nothing where they are open."""
        if not self.names or self._open:
            return
        check_trackers(self.names)
        from accelerate.state import PartialState
        from accelerate.tracking import LOGGER_TYPE_TO_CLASS

        PartialState()  # trackers ask it which process this is
        place = self.folder / FOLDER
        place.mkdir(parents=True, exist_ok=True)
        identity, is_new = _identity(place / _IDENTITY)
        for name in self.names:
            kind: Any = LOGGER_TYPE_TO_CLASS[name]
            options = self._options(name, identity, begun, place)
            if kind.requires_logging_directory:
                tracker = kind("tensorboard" if name == "tensorboard" else PROJECT, str(place), **options)
            else:
                tracker = kind(PROJECT, **options)
            _start(tracker)
            self._open.append(tracker)
            if is_new:
                self._describe(tracker)
        # Last: a run whose trackers could not be opened describes itself when they can.
        if is_new:
            partial = place / f".{_IDENTITY}.part"
            partial.write_text(json.dumps({"id": identity}) + "\n", encoding="utf-8")
            partial.replace(place / _IDENTITY)

    def log(self, step: int, values: Mapping[str, float | None]) -> None:
        """Numbers after `step` steps; None and what is not finite are left out."""
        finite = {name: value for name, value in values.items() if value is not None and math.isfinite(value)}
        for tracker in self._open if finite else ():
            tracker.log(finite, step=step)

    def image(self, step: int, name: str, image: "Image.Image") -> None:
        """An image after `step` steps, in the trackers that take images."""
        import numpy as np

        pixels = np.asarray(image.convert("RGB"))  # (H, W, 3) uint8
        for tracker in self._open:
            if tracker.name == "tensorboard":
                tracker.log_images({name: pixels[None]}, step=step, dataformats="NHWC")
            elif tracker.name == "trackio":  # which accelerate gives no images
                from trackio import Image as TrackioImage

                tracker.log({name: TrackioImage(pixels)}, step=step)
            elif hasattr(tracker, "log_images"):
                tracker.log_images({name: [pixels]}, step=step)

    def close(self) -> None:
        """Finish the records."""
        while self._open:
            self._open.pop().finish()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _options(self, name: str, identity: str, begun: int, place: Path) -> dict[str, Any]:
        if name == "tensorboard":
            return {"purge_step": begun + 1}
        if name not in _SERVICES:
            return {}
        shared = {"name": f"{self.folder.resolve().name}-{identity}", "resume": "allow", "config": self._settings()}
        return shared | ({"id": identity, "dir": str(place)} if name == "wandb" else {})

    def _settings(self) -> dict[str, bool | int | float | str]:
        return {key: _plain(value) for key, value in self.settings.items()}

    def _describe(self, tracker: Any) -> None:
        """Record the settings, where they were not given before, and the texts."""
        if tracker.name not in _SERVICES:
            tracker.store_init_configuration(self._settings())
        texts: dict[str, Any] = dict(self.texts)
        if tracker.name == "trackio":
            from trackio import Markdown

            texts = {name: Markdown(text) for name, text in texts.items()}
        if texts:
            tracker.log(texts, step=0)


def _start(tracker: Any) -> None:
    """Open a tracker's record; ValueError where its service refuses, by exceptions of its own."""
    try:
        tracker.start()
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(
            f"log_with {tracker.name}: its record could not be opened ({reason}); log in, choose its offline mode "
            "(docs/tracking.md), or leave it out"
        ) from error


def _identity(path: Path) -> tuple[str, bool]:
    """Of the record, by which services find it when the run resumes; and whether it is new."""
    if path.is_file():
        return str(json.loads(path.read_text(encoding="utf-8"))["id"]), False
    return secrets.token_hex(4), True


def _plain(value: Any) -> bool | int | float | str:
    """What trackers take as a setting."""
    return value if isinstance(value, bool | int | float | str) else str(value)
