"""The colour of each class: a data set's own, else colours that are distinguished without colour vision."""

from collections.abc import Sequence

from tadp_heads.data.class_names import is_background

Color = tuple[int, int, int]

# Seven colours of Okabe and Ito (jfly.uni-koeln.de/color), then those farthest from all before them in OKLab, as seen
# with normal colour vision and with deutan and protan vision (Machado et al., 2009); ordered so that neighbours differ.
_COLORS: tuple[Color, ...] = (
    *((0, 114, 178), (0, 158, 115), (230, 159, 0), (240, 228, 66), (86, 180, 233), (204, 121, 167), (213, 94, 0)),
    *((119, 255, 255), (0, 0, 255), (119, 34, 17), (68, 221, 170), (17, 68, 119), (85, 136, 255), (153, 68, 0)),
    *((51, 0, 187), (17, 102, 102), (102, 255, 170), (51, 102, 238), (68, 221, 255), (204, 17, 170), (204, 204, 102)),
    *((119, 17, 68), (85, 153, 221), (119, 187, 119), (68, 119, 85), (51, 204, 204), (85, 51, 204), (255, 102, 68)),
    *((0, 238, 221), (68, 85, 136), (0, 136, 204), (17, 119, 136)),
)
_BLACK: Color = (0, 0, 0)


def default_palette(classes: Sequence[str]) -> tuple[Color, ...]:
    """One colour per class, no two alike; a background that comes first is black.

    The first 32 are distinguished with a colour vision deficiency; from there on they are Pascal VOC's.
    """
    black = (_BLACK,) if classes and is_background(classes[0]) else ()
    own = (*black, *_COLORS)
    further = (color for color in map(_voc_color, range(1, 2 * len(classes) + 64)) if color not in own)
    return tuple([*own, *(next(further) for _ in range(len(classes) - len(own)))][: len(classes)])


def voc_palette(classes: Sequence[str]) -> tuple[Color, ...]:
    """Pascal VOC's own colours; black is for a background alone."""
    first = 0 if classes and is_background(classes[0]) else 1
    return tuple(_voc_color(number) for number in range(first, first + len(classes)))


def _voc_color(number: int) -> Color:
    """A number's bits dealt out to red, green and blue."""

    def channel(offset: int) -> int:
        return sum(((number >> (3 * bit + offset)) & 1) << (7 - bit) for bit in range(8))

    return channel(0), channel(1), channel(2)
