"""A user's depth data: images/ and depth/ with the same names, and split files beside them."""

from pathlib import Path

from torchvision import tv_tensors

from tadp_heads.data.errors import DataError
from tadp_heads.data.reading import files_by_id, read_image, require_folder, same_size, split_ids
from tadp_heads.data.sample import Sample, SampleDataset, Transform
from tadp_heads.depth.files import DEPTH_SUFFIXES, read_depth


class DepthFolder(SampleDataset):
    """images/NAME.* with depth/NAME.png (16 bits, millimetres) or .npy (metres), 0 = no value; split.txt of names."""

    task = "depth"

    def __init__(self, root: str | Path, split: str | None = None, transform: Transform | None = None):
        self.root = Path(root)
        self.image_files = files_by_id(require_folder(self.root / "images", "a folder of images"))
        folder = require_folder(self.root / "depth", "a folder of 16-bit PNG or .npy depth maps")
        self.depth_files = files_by_id(folder, DEPTH_SUFFIXES)
        super().__init__(split_ids(self.root, split, self.image_files), classes=(), transform=transform)
        unpaired = [name for name in self.ids if name not in self.depth_files]
        if unpaired:
            raise DataError(
                self.image_files[unpaired[0]],
                found=f"no depth map of its name ({len(unpaired)} such images)",
                expected=f"depth/{unpaired[0]}.png or .npy",
                fix="add the depth maps or list the images to use in a split file",
            )

    def read(self, sample_id: str) -> Sample:
        """The sample as it is on disk."""
        return read_pair(self.image_files[sample_id], self.depth_files[sample_id], sample_id)


def read_pair(image_path: Path, depth_path: Path, sample_id: str) -> Sample:
    """One image and its depth map in metres, checked to be of one size."""
    image, depth = read_image(image_path), read_depth(depth_path)
    same_size(image_path, image, depth_path, depth)
    return Sample(image, tv_tensors.Mask(depth), sample_id)
