"""Pictures of masks: one colour per class whatever lies below; sheets and legends."""

import numpy as np
import torch
from PIL import Image

from tadp_heads.overlay import contact_sheet, draw_legend, draw_mask

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200))


def test_a_class_has_one_hue_on_any_image_and_the_rest_is_left_as_it_is():
    image = Image.new("RGB", (3, 1))
    image.putdata([(0, 90, 0), (90, 0, 200), (10, 20, 30)])
    drawn = np.asarray(draw_mask(image, torch.tensor([[1, 1, 0]]), PALETTE), dtype=int)
    assert (drawn[0, :2, 1] == drawn[0, :2, 2]).all(), "grey and red alone"
    assert (drawn[0, :2, 0] > drawn[0, :2, 1] + 100).all()
    assert drawn[0, 2].tolist() == [10, 20, 30]


def test_a_sheet_has_a_line_for_titles_and_keeps_the_end_of_long_ones():
    pictures = [Image.new("RGB", (8, 8), "red")] * 3
    plain, titled = contact_sheet(pictures, cell=64), contact_sheet(pictures, ["a", "b", "folder/" * 30 + "c"], cell=64)
    assert plain.size == (256, 64)
    assert titled.size == (256, 82)
    text = np.asarray(titled)[64:].min(axis=(0, 2))  # darkest value of each column
    assert text[:64].min() < 100
    assert text[192:].min() == 255, "no fourth picture, no title"
    assert text[128:132].min() == 255, "the long title does not run into its neighbour"


def test_a_legend_shows_every_class_in_lines_that_fit():
    names, colors = [f"class {index}" for index in range(30)], [(index * 8, 10, 10) for index in range(30)]
    legend = draw_legend(names, colors, width=200)
    assert legend.width == 200
    shown = {tuple(color) for color in np.asarray(legend).reshape(-1, 3).tolist()}
    assert shown >= set(colors)
