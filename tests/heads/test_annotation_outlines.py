"""Outlines become the pixels that a ray caster finds, run lengths those of the reference implementation."""

import math

import numpy as np
import pytest
from annotation_exports import (
    SHAPES,
    SIZE,
    coco_content,
    encode_brush,
    encode_coco,
    json_text,
)
from annotation_masks import cast_rays, problems
from faster_coco_eval.core import mask as reference
from official_layouts import picture

from tadp_heads.data.annotations.rasterize import fill_ring
from tadp_heads.data.annotations.run_lengths import decode_brush, decode_coco

STAR = [(12 + 9 * math.cos(a), 8 + 7 * math.sin(a)) for a in (0.1, 2.6133, 5.1265, 1.3566, 3.8699)]
RINGS = {
    "concave": SHAPES["first.png"][0][1],
    "leaves the image on all sides": [(-7, 8), (12, -9.5), (40, 7.7), (11, 31)],
    "self-intersecting": STAR,
    "bow tie": [(2, 2), (20, 13), (20, 2), (2, 13)],
    "sliver": [(1, 1.1), (23, 1.2), (23, 1.3)],
    "wholly outside": [(-9, -9), (-2, -9), (-2, -1)],
    "whole pixels": [(3, 2), (9, 2), (9, 7), (3, 7)],
}


@pytest.mark.parametrize("ring", RINGS.values(), ids=RINGS)
def test_polygons_have_the_pixels_whose_centres_they_contain(ring):
    np.testing.assert_array_equal(fill_ring(np.array(ring), SIZE[1], SIZE[0]), cast_rays(ring))


def test_random_polygons_have_the_pixels_of_a_ray_caster():
    for seed in range(60):
        points = np.random.default_rng(seed).uniform(-4, 26, (3 + seed % 9, 2)).tolist()
        np.testing.assert_array_equal(fill_ring(np.array(points), SIZE[1], SIZE[0]), cast_rays(points), str(seed))


def test_polygons_with_a_common_edge_share_no_pixel_and_leave_none_out():
    left = np.array([(0, 0), (8.5, 0), (15.5, 16), (0, 16)])
    right = np.array([(8.5, 0), (24, 0), (24, 16), (15.5, 16)])
    np.testing.assert_array_equal(fill_ring(left, 16, 24) + 0 + fill_ring(right, 16, 24), np.ones((16, 24)))


def test_run_lengths_are_those_of_the_reference():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pixels = rng.random((7 + seed, 40 - seed)) < rng.random()
        code = reference.encode(np.asfortranarray(pixels.astype(np.uint8)))
        np.testing.assert_array_equal(decode_coco({**code, "counts": bytes(code["counts"]).decode()}), pixels)
        np.testing.assert_array_equal(decode_coco(encode_coco(pixels)), pixels)
        np.testing.assert_array_equal(decode_brush(encode_brush(pixels), *pixels.shape), pixels)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ({"size": [16, 24], "counts": [380]}, "run lengths of 380 pixels, expected 384"),
        ({"size": [16, 24], "counts": [390, -6]}, "no numbers of pixels"),
        ({"size": [16, 24], "counts": "o"}, "cut short or damaged"),
        ({"size": [1 << 30, 1 << 30], "counts": [5]}, "expected 24x16"),
        ({"size": [24, 16], "counts": [384]}, "pixels of a 16x24 image, expected 24x16"),
    ],
)
def test_damaged_run_lengths_give_one_line(tmp_path, code, message):
    picture(tmp_path / "a.png", SIZE)
    content = coco_content({"a.png": [("car", [(1, 1), (5, 1), (5, 5)])]})
    content["annotations"][0]["segmentation"] = code
    json_text(tmp_path / "labels.json", content)
    said = problems(tmp_path)
    assert "labels.json: found" in said
    assert message in said
    assert "annotation 1 of a.png" in said


def test_brush_strokes_as_the_browser_packs_them():
    """Stretches of different values, and half-opaque edges."""
    values = [0, 0, 0, 0, 9, 9, 9, 200, 5, 6, 7, 100, 0, 0, 0, 255]
    bits = f"{16:032b}{7:05b}" + "".join(f"{n:04b}" for n in (3, 7, 11, 15))
    bits += f"1{0:02b}{3:04b}{0:08b}"  # a run of four zeros
    bits += f"0{0:02b}{11:04b}" + "".join(f"{value:08b}" for value in values[4:])
    bits += "0" * (-len(bits) % 8)
    code = [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
    np.testing.assert_array_equal(decode_brush(code, 2, 2), [[False, True], [False, True]])
    with pytest.raises(ValueError, match="cut short"):
        decode_brush(code[:-2], 2, 2)
    with pytest.raises(ValueError, match="of another image than 3x2"):
        decode_brush(code, 2, 3)


# tadp.toml
