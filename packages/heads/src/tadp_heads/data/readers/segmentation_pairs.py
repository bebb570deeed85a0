"""Segmentation data sets that are pairs of an image and a mask of one byte per pixel; every one of ours is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torchvision import tv_tensors

from tadp_heads.data.errors import DataError
from tadp_heads.data.image_io import frame_warnings, open_image, read_in_frame, same_size
from tadp_heads.data.inspection import Inspection
from tadp_heads.data.readers.color_masks import ColorTable
from tadp_heads.data.sample import IGNORE_INDEX, Color, Sample, SampleDataset, Transform


def identity_lookup(count: int) -> np.ndarray:
    """(256,) uint8: ids below `count` stay, all others are ignored."""
    lookup = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    lookup[:count] = np.arange(count)
    return lookup


class SegmentationPairs(SampleDataset):
    """Images and masks by id; `lookup` (256,) turns a byte of the file into a class id or IGNORE_INDEX."""

    task = "segmentation"

    def __init__(
        self,
        pairs: Mapping[str, tuple[Path, Path]],
        classes: Sequence[str],
        *,
        palette: Sequence[Color] | None = None,
        lookup: np.ndarray | None = None,
        transform: Transform | None = None,
        prompt_names: Sequence[str] | None = None,
        colors: ColorTable | None = None,
    ):
        super().__init__(tuple(pairs), classes, palette, transform, prompt_names)
        self.pairs = dict(pairs)
        self.lookup = identity_lookup(len(self.classes)) if lookup is None else lookup
        self.colors = colors

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}."""
        return {sample_id: image for sample_id, (image, _) in self.pairs.items()}

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk; mask (H, W) int64, IGNORE_INDEX where the file has no class."""
        image_path, mask_path = self.pairs[sample_id]
        mask = torch.from_numpy(self.lookup[read_mask(mask_path, self.colors)].astype(np.int64))
        image = read_in_frame(image_path, (mask.shape[1], mask.shape[0]), mask_path)
        same_size(image_path, image, mask_path, mask)
        return Sample(image, tv_tensors.Mask(mask), sample_id)

    def inspect(self, sample_id: str) -> Inspection:
        """Counts the bytes of the mask, those of no class too."""
        image_path, mask_path = self.pairs[sample_id]
        raw = read_mask(mask_path, self.colors)
        image = read_in_frame(image_path, (raw.shape[1], raw.shape[0]), mask_path)
        same_size(image_path, image, mask_path, torch.from_numpy(raw))
        counts: Counter = Counter()
        for byte, pixels in enumerate(np.bincount(raw.ravel(), minlength=256).tolist()):
            known = self.lookup[byte] != IGNORE_INDEX
            # A byte without a class is counted under its own number, which the report names.
            if pixels:
                counts[int(self.lookup[byte]) if known else len(self.classes) + byte] += pixels
        inspection = Inspection(size=(raw.shape[1], raw.shape[0]), counts=counts)
        inspection.warnings += frame_warnings(image_path, inspection.size, mask_path)
        if not (self.lookup[raw] != IGNORE_INDEX).any():
            error = DataError(
                mask_path,
                found=f"no pixel of any class (ids {sorted(set(raw.ravel().tolist()))[:5]})",
                expected=f"ids 0..{len(self.classes) - 1} somewhere",
                fix="relabel the mask or take it off the split files",
            )
            inspection.problems.append(str(error))
        return inspection


def read_mask(path: Path, colors: ColorTable | None = None) -> np.ndarray:
    """(H, W) uint8 of an image file with one byte per pixel, grey or with a palette; with `colors`, of its colours."""
    image = open_image(path)
    if colors is None and image.mode not in ("L", "P"):
        raise DataError(
            path,
            found=f"an image of mode {image.mode}",
            expected="one byte per pixel, the class id",
            fix="save it as an 8-bit grey or palette PNG, or write the colours of the classes into tadp.toml",
        )
    if image.format == "JPEG" or path.suffix.lower() in (".jpg", ".jpeg"):
        raise DataError(
            path, found="a JPEG", expected="a lossless file", fix="export the mask as PNG; JPEG changes the class ids"
        )
    return np.array(image) if colors is None else colors.ids(image, path)


def pair_up(images: Mapping[str, Path], masks: Mapping[str, Path], ids: Sequence[str]) -> dict[str, tuple[Path, Path]]:
    """{id: (image, mask)}; an id without a mask is an error."""
    missing = [name for name in ids if name not in masks]
    if missing:
        raise DataError(
            images[missing[0]],
            found=f"no mask of the same name ({len(missing)} such images)",
            expected=f"{missing[0]}.png among the masks",
            fix="add the masks or list the images to use in a split file",
        )
    return {name: (images[name], masks[name]) for name in ids}
