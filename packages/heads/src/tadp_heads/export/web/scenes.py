"""Rendered scenes for the page, each with its true caption."""

import numpy as np
from PIL import Image

from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import STYLE_TEMPLATES, TRAINED_DOMAINS, describe, sample_scene
from tadp_heads.export.web.site import DemoImage

_SEED = 26
"""Of the scenes that are offered."""
_OF_EACH = 2


def scene_images(size: int = 64) -> list[DemoImage]:
    """Two of each domain that the tiny models were trained on; `size`: side in pixels."""
    return [
        _image(index, domain, size)
        for index, domain in enumerate(domain for domain in TRAINED_DOMAINS for _ in range(_OF_EACH))
    ]


def _image(index: int, domain: str, size: int) -> DemoImage:
    scene = sample_scene(_SEED, index)
    text = describe(scene, np.random.default_rng([_SEED, index]))
    caption = text if domain == "photo" else STYLE_TEMPLATES[domain][0].format(caption=text)
    return DemoImage(name=domain, caption=caption, image=Image.fromarray(render(scene, domain, size).image))
