"""Colours of classes: neighbours differ for every kind of colour vision, and a data set's own colours stay."""

import numpy as np

from tadp_heads.data.palette import default_palette, voc_palette

# Machado, Oliveira and Fernandes (2009), severity 1, for linear RGB
DEUTAN = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
PROTAN = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
# Ottosson's OKLab, in which distances are those that are seen
TO_CONES = [[0.41222, 0.53633, 0.05145], [0.21190, 0.68070, 0.10740], [0.08830, 0.28172, 0.62998]]
TO_LAB = [[0.21045, 0.79362, -0.00407], [1.97800, -2.42859, 0.45059], [0.02590, 0.78277, -0.80868]]


def seen_distance(palette):
    """(K, K): the least distance of two colours over three kinds of colour vision."""
    values = np.array(palette) / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    distances = []
    for vision in (np.eye(3), DEUTAN, PROTAN):
        seen = np.clip(linear @ np.transpose(vision), 0, 1)
        lab = np.cbrt(seen @ np.transpose(TO_CONES)) @ np.transpose(TO_LAB)
        distances.append(np.linalg.norm(lab[:, None] - lab, axis=-1))
    return np.min(distances, axis=0)


def test_classes_are_distinguished_with_and_without_colour_vision():
    """Pascal VOC's first twelve colours come as near as 0.006 to each other, neighbours as near as 0.015."""
    distance = seen_distance(default_palette([f"class {i}" for i in range(32)]))
    assert np.diag(distance, 1).min() > 0.09
    assert distance[:24, :24][~np.eye(24, dtype=bool)].min() > 0.07
    assert distance[~np.eye(32, dtype=bool)].min() > 0.055


def test_a_class_keeps_its_colour_when_others_follow_and_none_is_used_twice():
    many = default_palette([f"class {i}" for i in range(1203)])
    assert len(set(many)) == len(many) == 1203
    assert default_palette(["a", "b", "c"]) == many[:3]
    assert default_palette(["background", "b", "c"]) == ((0, 0, 0), *many[:2])
    assert default_palette([]) == ()


def test_vocs_own_colours():
    assert voc_palette(["background", "aeroplane"]) == ((0, 0, 0), (128, 0, 0))
    assert voc_palette(["aeroplane"]) == ((128, 0, 0),)
