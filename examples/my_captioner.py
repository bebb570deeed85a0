"""A captioner of one's own: it names the brightness and the strongest color of an image.

tadp caption photos/ --plugin my_captioner.py --captioner colors --out captions.jsonl
tadp train scenes-segmentation --data data/photo --plugin my_captioner.py --set data.captioner=colors --out runs/colors
"""

from PIL import ImageStat

from tadp_captioning import register_captioner


@register_captioner("colors")
class ColorCaptioner:
    """RGB images -> "a dark red image"; a model would be loaded in the constructor, onto the device."""

    def __init__(self, device, generation):
        self.words = generation.max_new_tokens

    def caption(self, images) -> list[str]:
        return [" ".join(describe(image).split()[: self.words]) for image in images]


def describe(image) -> str:
    """Words for one PIL image."""
    means = ImageStat.Stat(image).mean  # of red, green and blue, in [0, 255]
    brightness = "dark" if sum(means) < 3 * 128 else "bright"
    color = ("red", "green", "blue")[means.index(max(means))]
    return f"a {brightness} {color} image"
