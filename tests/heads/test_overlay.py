"""Pictures of masks: one colour per class whatever lies below; sheets and legends."""

import numpy as np
import torch
from PIL import Image

from tadp_heads.overlay import color_depth, contact_sheet, depth_bar, draw_boxes, draw_legend, draw_mask

PALETTE = ((0, 0, 0), (200, 0, 0), (0, 0, 200))


def test_a_class_has_one_hue_on_any_image_and_the_rest_is_left_as_it_is():
    image = Image.new("RGB", (3, 1))
    image.putdata([(0, 90, 0), (90, 0, 200), (10, 20, 30)])
    drawn = np.asarray(draw_mask(image, torch.tensor([[1, 1, 0]]), PALETTE), dtype=int)
    assert (drawn[0, :2, 1] == drawn[0, :2, 2]).all(), "grey and red alone"
    assert (drawn[0, :2, 0] > drawn[0, :2, 1] + 80).all()
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


def test_a_mask_has_a_contour_in_the_class_colour_and_a_tint_within():
    image = Image.new("RGB", (32, 32), (100, 100, 100))
    ids = torch.zeros(32, 32, dtype=torch.long)
    ids[8:24, 8:24] = 1
    drawn = np.asarray(draw_mask(image, ids, PALETTE))
    assert drawn[8, 16].tolist() == [200, 0, 0]
    assert drawn[16, 16].tolist() == [145, 55, 55], "45 % of the colour, 55 % of the image"
    assert drawn[7, 16].tolist() == [100, 100, 100]
    outlined = np.asarray(draw_mask(image, ids, PALETTE, opacity=0))
    assert outlined[8, 16].tolist() == [200, 0, 0]
    assert outlined[16, 16].tolist() == [100, 100, 100]


def test_labels_of_boxes_lie_outside_of_them_and_cover_no_other_label():
    """Labels were drawn into the box at the image's own size: a 64-pixel image was all label."""
    image = Image.new("RGB", (64, 64), "white")
    boxes = torch.tensor([[8.0, 24, 40, 60], [9.0, 25, 41, 61], [10.0, 24, 42, 62]])
    colors = [(200, 0, 0), (0, 150, 0), (0, 0, 200)]
    drawn = np.asarray(
        draw_boxes(image, boxes, torch.arange(3), ["a tree 0.99", "a house 0.98", "a ring 0.97"], colors)
    )
    assert drawn.shape == (448, 448, 3)
    inside = drawn[7 * 30 : 7 * 55, 7 * 15 : 7 * 35]
    assert (inside == 255).mean() > 0.9, "no label covers what is in the box"
    areas = [int((drawn == color).all(-1).sum()) for color in colors]
    assert min(areas) > 0.5 * max(areas), "each label is seen whole"


def test_a_label_that_finds_no_place_is_left_out():
    box = torch.tensor([[0.0, 0, 64, 64]])
    image, one = Image.new("RGB", (64, 64)), torch.tensor([0])
    alone = np.asarray(draw_boxes(image, box, one, ["x"], [(9, 200, 9)]))
    crowd = draw_boxes(image, box.expand(40, 4), one.expand(40), ["x"] * 40, [(9, 200, 9)])
    assert alone.shape == np.asarray(crowd).shape


def test_depth_alone_has_the_colours_of_its_bar():
    metres = torch.tensor([[1.0, 5.0], [3.0, 0.0]])
    drawn, bar = np.asarray(color_depth(metres)), np.asarray(depth_bar(metres))
    assert drawn[0, 0].tolist() == bar[0, 0].tolist() == [253, 231, 37]
    assert drawn[0, 1].tolist() == bar[0, -1].tolist() == [68, 1, 84]
    assert drawn[1, 1].tolist() == [128, 128, 128], "no value"
    assert depth_bar(torch.zeros(2, 2)).width == 256
