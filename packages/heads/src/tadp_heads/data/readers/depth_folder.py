"""Depth data sets that are pairs of an image and a depth map; a user's own: images/, depth/ and split files."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from torch import Tensor
from torchvision import tv_tensors

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, require_folder, split_ids
from tadp_heads.data.image_io import frame_warnings, read_in_frame, same_size
from tadp_heads.data.inspection import Inspection, inspect_depth
from tadp_heads.data.sample import Sample, SampleDataset, Transform
from tadp_heads.data.settings import DepthSettings, read_settings
from tadp_heads.depth.files import DEPTH_SUFFIXES, MILLIMETRES, read_depth

_DEFAULT = DepthSettings()


class DepthPairs(SampleDataset):
    """Images and depth maps by id."""

    task = "depth"

    def __init__(
        self,
        pairs: Mapping[str, tuple[Path, Path]],
        transform: Transform | None = None,
        settings: DepthSettings = _DEFAULT,
    ):
        super().__init__(tuple(pairs), classes=(), transform=transform)
        self.pairs = dict(pairs)
        self.settings = settings

    @cached_property
    def image_files(self) -> Mapping[str, Path]:
        """{id: image file}."""
        return {sample_id: image for sample_id, (image, _) in self.pairs.items()}

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk."""
        image_path, depth_path = self.pairs[sample_id]
        depth = self._measured(read_depth(depth_path), depth_path)
        image = read_in_frame(image_path, (depth.shape[-1], depth.shape[-2]), _image_file(depth_path))
        same_size(image_path, image, depth_path, depth)
        return Sample(image, tv_tensors.Mask(depth), sample_id)

    def _measured(self, depth: Tensor, path: Path) -> Tensor:
        """Metres by the file's own scale, 0 outside the camera's range."""
        if self.settings.scale is not None and path.suffix.lower() != ".npy":
            depth = depth * (self.settings.scale * MILLIMETRES)
        if self.settings.range is None:
            return depth
        near, far = self.settings.range
        return depth * ((depth >= near) & (depth <= far))

    def inspect(self, sample_id: str) -> Inspection:
        """Nearest and farthest depth."""
        image_path, depth_path = self.pairs[sample_id]
        inspection = inspect_depth(self.read(sample_id), depth_path)
        inspection.warnings += frame_warnings(image_path, inspection.size, _image_file(depth_path))
        return inspection


def _image_file(depth_path: Path) -> Path | None:
    """The depth map as an image file, which may have an EXIF tag of its own."""
    return None if depth_path.suffix.lower() == ".npy" else depth_path


class DepthFolder(DepthPairs):
    """images/NAME.* with depth/NAME.png (16 bits, millimetres), .npy or .tiff (metres); SPLIT.txt of names.

    0 is no value.
    """

    def __init__(self, root: str | Path, split: str | None = None, transform: Transform | None = None):
        self.root = Path(root)
        images, maps = depth_files(self.root)
        ids = split_ids(self.root, split, images)
        unpaired = [name for name in ids if name not in maps]
        if unpaired:
            raise DataError(
                images[unpaired[0]],
                found=f"no depth map of its name ({len(unpaired)} such images)",
                expected=f"depth/{unpaired[0]}.png, .npy or .tiff",
                fix="add the depth maps or list the images to use in a split file",
            )
        settings = read_settings(self.root).depth
        super().__init__({name: (images[name], maps[name]) for name in ids}, transform, settings)


def depth_files(root: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and depth maps by id."""
    images = files_by_id(require_folder(root / "images", "a folder of images", root), root=root)
    folder = require_folder(root / "depth", "a folder of depth maps: 16-bit PNG, .npy or .tiff", root)
    maps = files_by_id(folder, DEPTH_SUFFIXES, root)
    if not images:
        raise DataError(root / "images", found="no image", expected="JPEG or PNG files", fix="put the images there")
    return images, maps
