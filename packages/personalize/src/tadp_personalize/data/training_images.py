"""What a run learns from and is measured by: the images, and what a captioner says of them."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from PIL import Image

from tadp_personalize.data.images import ImageReport, ImageSource, read_images
from tadp_personalize.prompts import takes_captions

Captioner = Callable[[list[Image.Image]], list[str]]
"""Images to one caption each, without words for their domain."""


@dataclass(frozen=True, kw_only=True)
class Captioned:
    """Images with their captions, all empty where the training sentences have no place for one."""

    images: tuple[Image.Image, ...] = ()
    captions: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Material:
    """The images of a run."""

    training: Captioned
    unseen: Captioned
    """Held-out images, without those that are trained on."""
    report: ImageReport
    """What became of the images to learn from."""


def gather(
    images: ImageSource | Iterable[ImageSource],
    held_out: ImageSource | Iterable[ImageSource] | None,
    *,
    size: int,
    templates: Sequence[str],
    captioner: Captioner | None,
) -> Material:
    """Read and caption the images; no held-out images given is none, none left of those given is an error."""
    if takes_captions(templates) != (captioner is not None):
        given = "no captioner was given" if captioner is None else "a captioner was given"
        raise ValueError(
            f"{given} for templates such as {templates[0]!r}: a captioner goes with templates that have {{caption}}"
        )
    found, report = read_images(images, size=size)
    unseen = [] if held_out is None else read_images(held_out, size=size, least=1, known=found)[0]
    return Material(training=_captioned(found, captioner), unseen=_captioned(unseen, captioner), report=report)


def _captioned(images: list[Image.Image], captioner: Captioner | None) -> Captioned:
    captions = captioner(images) if captioner and images else [""] * len(images)
    if len(captions) != len(images):
        raise ValueError(f"the captioner gave {len(captions)} captions for {len(images)} images; expected one each")
    return Captioned(images=tuple(images), captions=tuple(captions))
