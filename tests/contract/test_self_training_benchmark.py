"""The benchmark of self-training: its page, and how pseudo-labels are judged."""

import pytest
import torch
from adaptation_page import self_training
from pseudo_label_quality import _of_boxes, _of_masks

from tadp_heads.data.sample import IGNORE_INDEX


def test_the_page_compares_the_same_seeds():
    plain = {"source": [0.5, 0.5], "target": [0.4, 0.3], "right": [0.75] * 2, "found": [0.5] * 2, "hidden": [0.2] * 2}
    part = {
        "commands": ["one", "two"],
        "machine": {"commit": "abc", "device": "a processor", "torch": "2.11"},
        "settings": {"train_images": 3, "target_images": 4, "scored_images": 5, "steps": 6},
        "rows": {"plain": plain, "teacher": {"source": [0.5], "target": [0.35], "pseudo_labels": [0.9]}},
    }
    page = self_training({"segmentation": {"night": part}})
    assert "| (no self-training) | 2 | 50.0 ± 0.0 | 35.0 ± 7.1 |  |  |" in page
    assert "| the teacher | 1 | 50.0 | 35.0 | -5.0 | 90 |" in page
    assert "| segmentation, night | 75 ± 0 | 50 ± 0 | 20 ± 0 |" in page
    assert "`one; two`, commit abc, a processor, torch 2.11." in page


def test_labels_of_pixels_are_right_wrong_or_hide_an_object():
    truth = torch.tensor([[0, 1, 1, 1, 2]])
    found = torch.tensor([[1, 1, 0, IGNORE_INDEX, 2]])
    assert _of_masks([found], [truth], background=0).tolist() == [3, 2, 2, 1, 0]


@pytest.mark.parametrize(("label", "counts"), [(4, [1, 1, 1, 1, 0]), (5, [1, 0, 0, 2, 0])])
def test_a_box_is_right_where_it_has_the_class_and_place_of_an_object(label, counts):
    boxes = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    found = {"boxes": boxes[:1] + 1, "labels": torch.tensor([label])}
    assert _of_boxes([found], [{"boxes": boxes, "labels": torch.tensor([4, 4])}]).tolist() == counts
