"""Pascal VOC 2012 segmentation, as VOCtrainval_11-May-2012.tar unpacks; augmented labels where they were added."""

from pathlib import Path

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import read_lines, require_folder
from tadp_heads.data.palette import voc_palette
from tadp_heads.data.readers.segmentation_pairs import SegmentationPairs
from tadp_heads.data.readers.voc_detection import VOC_CLASSES, voc_prompt_names
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import Transform


class VOCSegmentation(SegmentationPairs):
    """VOC 2012: background and 20 classes; the border around objects (255) is ignored.

    `root` is VOC2012, VOCdevkit or the folder that holds it. `split` is a file of ImageSets/Segmentation ("train",
    "val", "trainval"), or "trainaug": 10582 images of VOC and the Semantic Boundaries Dataset (SBD), with masks in
    SegmentationClassAug. mmsegmentation's conversion script writes SBD's masks alone there: an image that has none is
    one of VOC's own, with its mask in SegmentationClass. Prompts name the background too, as the paper's do.
    """

    def __init__(self, root: str | Path, split: str = "train", transform: Transform | None = None):
        self.root = find_voc(Path(root))
        augmented = split in ("trainaug", "train_aug")
        folders = ("SegmentationClassAug", "SegmentationClass") if augmented else ("SegmentationClass",)
        first = require_folder(self.root / folders[0], "a folder of masks", self.root)
        images = require_folder(self.root / "JPEGImages", "a folder of images", self.root)
        masks = {path.name: path for folder in reversed(folders) for path in (self.root / folder).glob("*.png")}
        names = {name: f"{name}.png" for name in self._ids(split)}
        pairs = {name: (images / f"{name}.jpg", masks.get(file, first / file)) for name, file in names.items()}
        pairs = {name: (inside(self.root, image), inside(self.root, mask)) for name, (image, mask) in pairs.items()}
        classes = ("background", *VOC_CLASSES)
        super().__init__(
            pairs, classes, palette=voc_palette(classes), transform=transform, prompt_names=voc_prompt_names(classes)
        )

    def _ids(self, split: str) -> tuple[str, ...]:
        folder = require_folder(self.root / "ImageSets" / "Segmentation", "a folder of split files")
        path = folder / f"{split}.txt"
        if not path.is_file():
            present = ", ".join(sorted(file.stem for file in folder.glob("*.txt")))
            raise DataError(
                path, found="no such split", expected=f"one of {present or '(none there)'}", fix="name another split"
            )
        # The augmented list often comes as "/JPEGImages/ID.jpg /SegmentationClassAug/ID.png".
        return tuple(Path(line.split()[0]).stem for line in read_lines(inside(self.root, path), "image ids"))


def find_voc(root: Path, year: str = "VOC2012") -> Path:
    """The folder with JPEGImages: `root`, or VOC2012 or VOCdevkit/VOC2012 in it."""
    for folder in (root / "VOCdevkit" / year, root / year, root):
        # The folder may have any name but that of another year.
        other_year = folder.name.startswith("VOC20") and folder.name != year
        if (folder / "JPEGImages").is_dir() and not other_year:
            return inside(root, folder)
    raise DataError(
        root, found=f"no {year}/JPEGImages", expected=f"{year} as unpacked, or VOCdevkit above it", fix="check the path"
    )
