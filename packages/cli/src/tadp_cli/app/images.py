"""Images that users bring: checked before they are decoded, upright, RGB, small; and generated Scenes."""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from tadp_cli.inputs.user_images import open_user_image
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import SCENE_DOMAINS, describe, sample_scene

LONGEST_SIDE = 256
"""Pixels to which an image's longer side is scaled down."""
MAX_MEGAPIXELS, MAX_FILE = 25.0, "20mb"
_SEED = 555


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image of one session."""

    image: Image.Image
    """RGB, at most LONGEST_SIDE pixels."""
    name: str
    caption: str = ""
    """A true caption, of Scenes."""

    @property
    def key(self) -> str:
        """Of the pixels: equal images are encoded once, whoever brings them."""
        return hashlib.sha256(self.image.tobytes() + str(self.image.size).encode()).hexdigest()


def open_upload(path: str | None) -> InputImage:
    """A file that a browser sent; ValueError in one line for what cannot be taken."""
    if not path:
        raise ValueError("no image: choose a file, or take a Scene")
    file = Path(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit is ours
            with Image.open(file) as header:
                width, height = header.size
    except Image.DecompressionBombError:
        width = height = 100_000
    except OSError:
        raise ValueError(f"{file.name}: no image that can be read: send a PNG, JPEG or WebP file") from None
    if width * height > MAX_MEGAPIXELS * 1e6:
        raise ValueError(
            f"{file.name} has more than {MAX_MEGAPIXELS:g} megapixels: scale it down; {LONGEST_SIDE} pixels are used"
        )
    image = open_user_image(file)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.BICUBIC)
    return InputImage(image, file.name)


def scene(number: int, domain: str = "photo") -> InputImage:
    """A generated image, with its true caption; none of it was seen in training."""
    import numpy as np

    if domain not in SCENE_DOMAINS:
        raise ValueError(f"unknown domain {domain!r}: choose from {', '.join(SCENE_DOMAINS)}")
    made = sample_scene(_SEED, int(number))
    caption = describe(made, np.random.default_rng([_SEED, int(number)]))
    return InputImage(Image.fromarray(render(made, domain).image), f"scene {int(number)}, {domain}", caption)
