"""Videos are read and written frame by frame with PyAV, whatever their length."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, Self

from PIL import Image

from tadp_heads.data.errors import DataError

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".webm"})


class Frame(NamedTuple):
    """One image of a video."""

    number: int
    """From 0 on."""
    seconds: float
    """Since the video's start."""
    image: Image.Image
    """RGB, upright."""


def is_video(path: str | Path) -> bool:
    """Whether the file is named like a video."""
    return Path(path).suffix.lower() in VIDEO_SUFFIXES


def read_frames(path: Path) -> Iterator[Frame]:
    """The frames of the first video stream in the order in which they are shown; one of them is in memory at a time.

    Raise DataError for a file that holds no video, or whose frames end in damaged data.
    """
    av, number = _av(), -1
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(path, found="no video stream", expected="a video", fix="name a video file")
            for number, frame in enumerate(container.decode(container.streams.video[0])):
                image = frame.to_image()
                turned = image.rotate(frame.rotation, expand=True) if frame.rotation else image
                yield Frame(number, float(frame.time or 0.0), turned)
    except av.error.FFmpegError as error:
        place = "at its start" if number < 0 else f"after frame {number}"
        raise DataError(
            path, found=f"damaged data {place} ({error.strerror})", expected="a video", fix="convert it again"
        ) from error


class VideoFile:
    """An MP4 file (H.264, or MPEG-4 where PyAV comes without it) that takes one image after the other."""

    def __init__(self, path: Path, size: tuple[int, int], rate: float):
        """`size`: (width, height) of all images; an odd last column or row is cut off, as the codecs want even ones.
        `rate`: frames per second."""
        av = _av()
        self.size = (size[0] - size[0] % 2, size[1] - size[1] % 2)
        self._container: Any = av.open(str(path), "w", format="mp4")
        codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
        self._stream: Any = self._container.add_stream(codec, rate=Fraction(rate).limit_denominator(1001))
        self._stream.width, self._stream.height = self.size
        self._stream.pix_fmt = "yuv420p"
        self._frame_of = av.VideoFrame.from_image

    def add(self, image: Image.Image) -> None:
        """Append an RGB image."""
        self._container.mux(self._stream.encode(self._frame_of(image.crop((0, 0, *self.size)))))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._container.mux(self._stream.encode())
        self._container.close()


def frame_rate(path: Path) -> float:
    """Frames per second, on average; 25 where the file does not state it."""
    with _av().open(str(path)) as container:
        return float(container.streams.video[0].average_rate or 25)


def frame_count(path: Path) -> int:
    """From the file's header; 0 where it does not state it."""
    with _av().open(str(path)) as container:
        return int(container.streams.video[0].frames)


def _av() -> Any:
    """PyAV, imported when a video is opened."""
    try:
        import av
    except ImportError:
        raise ValueError("videos need PyAV: pip install 'tadp-heads[video]'") from None
    return av
