"""Rendered scenes for the page, each with its true caption."""

import numpy as np
from PIL import Image

from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import LOOKS, STYLE_TEMPLATES, describe, sample_scene
from tadp_heads.export.web.site import DemoImage

_SEED = 26
"""Of the scenes that are offered."""
_OF_EACH = 2


def scene_images(size: int = 64) -> list[DemoImage]:
    """Two of each domain that the tiny models were trained on; `size`: side in pixels."""
    return [_image(index, look, size) for index, look in enumerate(look for look in LOOKS for _ in range(_OF_EACH))]


def _image(index: int, look: str, size: int) -> DemoImage:
    scene = sample_scene(_SEED, index)
    text = describe(scene, np.random.default_rng([_SEED, index]))
    caption = text if look == "photo" else STYLE_TEMPLATES[look][0].format(caption=text)
    return DemoImage(name=look, caption=caption, image=Image.fromarray(render(scene, look, size).image))
