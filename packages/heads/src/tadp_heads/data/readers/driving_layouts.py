"""Where data sets of street scenes keep their files."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DrivingLayout:
    """Where a data set keeps its files; {split} is filled in."""

    images: str
    """Folder of the images."""
    labels: str
    """Folder of the labels, with the same folders in it."""
    image_ending: str
    """What follows the part of a name that image and label share."""
    label_ending: str
    """The same for labels, without "TrainIds.png" or "Ids.png"."""
    splits: tuple[str, ...]
    """Those that have labels."""


CONDITIONS = ("fog", "night", "rain", "snow")
"""Of ACDC: folders, and domains of prompts."""

LAYOUTS = {
    "cityscapes": DrivingLayout(
        images="leftImg8bit/{split}",
        labels="gtFine/{split}",
        image_ending="_leftImg8bit",
        label_ending="_gtFine_label",
        splits=("train", "val"),
    ),
    "dark-zurich": DrivingLayout(
        images="rgb_anon/{split}",
        labels="gt/{split}",
        image_ending="_rgb_anon",
        label_ending="_gt_label",
        splits=("val",),
    ),
    "nighttime-driving": DrivingLayout(
        images="leftImg8bit/{split}",
        labels="gtCoarse_daytime_trainvaltest/{split}",
        image_ending="_leftImg8bit",
        label_ending="_gtCoarse_label",
        splits=("test",),
    ),
    "acdc": DrivingLayout(
        images="rgb_anon/{split}",
        labels="gt/{split}",
        image_ending="_rgb_anon",
        label_ending="_gt_label",
        splits=tuple(f"{weather}/{part}" for weather in CONDITIONS for part in ("train", "val")),
    ),
}
