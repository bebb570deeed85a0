"""Object detection in Pascal VOC's layout: VOC 2007 and 2012, Watercolor2k, Comic2k, Clipart1k, and a user's own."""

from collections.abc import Collection, Sequence
from pathlib import Path
from xml.etree.ElementTree import Element

import torch
from torchvision import tv_tensors

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import files_by_id, read_lines, require_folder
from tadp_heads.data.image_io import frame_warnings, read_in_frame, require_declared
from tadp_heads.data.inspection import Inspection
from tadp_heads.data.palette import voc_palette
from tadp_heads.data.readers.split_files import SPLITS, listed_id
from tadp_heads.data.readers.xml_files import read_xml
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import DetectionTarget, Sample, SampleDataset, Transform

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""Also those of Clipart1k."""
_PROMPT_NAMES = {
    "aeroplane": "airplane",
    "diningtable": "dining table",
    "motorbike": "motorcycle",
    "pottedplant": "potted plant",
    "tvmonitor": "television",
}
WATERCOLOR_CLASSES = ("bicycle", "bird", "car", "cat", "dog", "person")
"""Those of Watercolor2k and Comic2k, six of VOC's."""


class VOCDetection(SampleDataset):
    """`root`/JPEGImages/ID.*, Annotations/ID.xml and ImageSets/Main/SPLIT.txt; `split` None takes every annotation.

    `ids` names the images instead of a split file. `declares_size`: an XML file's <size> must be the image's; published
    data sets are taken as they are.

    VOC's pixels count from 1 and its boxes include their last one; here xmin and ymin become one less, so that boxes
    are edges: 0-based, right and bottom exclusive. `xml_frame` leaves the numbers as they are in the file, which is
    the frame of the paper's detector (docs/reference.md, section 3: utils/detection_utils.py:38-53).
    """

    task = "detection"

    def __init__(
        self,
        root: str | Path,
        split: str | None = None,
        classes: Sequence[str] = VOC_CLASSES,
        transform: Transform | None = None,
        *,
        ids: Sequence[str] | None = None,
        xml_frame: bool = False,
        declares_size: bool = True,
    ):
        self.root = Path(root)
        self.declares_size = declares_size
        self.xml_frame = xml_frame
        self.image_files = files_by_id(
            require_folder(self.root / "JPEGImages", "VOC's folder of images", self.root), root=self.root
        )
        self.annotations = require_folder(self.root / "Annotations", "VOC's folder of XML files", self.root)
        if ids is None:
            annotated = tuple(sorted(path.stem for path in self.annotations.glob("[!.]*.xml")))
            ids = annotated if split is None else split_ids(self.root / SPLITS, split, self.root, self.image_files)
        absent = [name for name in ids if name not in self.image_files]
        if absent:
            raise DataError(
                self.root / "JPEGImages",
                found=f"no image {absent[0]!r} ({len(absent)} such ids)",
                expected="an image for every id of the split",
                fix="add the images or take their ids off the split file",
            )
        names = voc_prompt_names(classes) if tuple(classes) == VOC_CLASSES else None
        super().__init__(ids, classes, palette=voc_palette(classes), transform=transform, prompt_names=names)

    def read(self, sample_id: str) -> Sample:
        """The sample as stored on disk."""
        path = inside(self.root, self.annotations / f"{sample_id}.xml")
        root = read_xml(path)
        declared = _declared(root)
        image = read_in_frame(self.image_files[sample_id], declared)
        if self.declares_size:
            require_declared(path, declared, self.image_files[sample_id], image)
        objects = [_read_object(path, element, self.classes) for element in root.iter("object")]
        boxes = torch.tensor([box for box, _, _ in objects], dtype=torch.float32).reshape(-1, 4)
        if not self.xml_frame:
            boxes[:, :2] -= 1
        size = tuple(image.shape[-2:])
        _check_inside(path, boxes, size)
        target = DetectionTarget(
            boxes=tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=size),
            labels=torch.tensor([label for _, label, _ in objects], dtype=torch.int64),
            difficult=torch.tensor([difficult for _, _, difficult in objects], dtype=torch.bool),
            xml_frame=torch.tensor(self.xml_frame),
        )
        return Sample(image, target, sample_id)

    def inspect(self, sample_id: str) -> Inspection:
        """As for every data set, and whether the image is turned otherwise than its boxes."""
        inspection = super().inspect(sample_id)
        declared = _declared(read_xml(self.annotations / f"{sample_id}.xml"))
        inspection.warnings += frame_warnings(self.image_files[sample_id], declared)
        return inspection


def voc_prompt_names(classes: Sequence[str]) -> tuple[str, ...]:
    """VOC's classes as the paper's prompts name them (Fig. S1; its code: datasets/VOCDataset.py)."""
    return tuple(_PROMPT_NAMES.get(name, name) for name in classes)


def split_ids(folder: Path, split: str, root: Path, known: Collection[str]) -> tuple[str, ...]:
    """Ids of the split file; a second column, as in VOC's lists of one class, is left alone."""
    path = folder / f"{split}.txt"
    if not path.is_file():
        present = ", ".join(sorted(file.stem for file in folder.glob("[!.]*.txt") if "_" not in file.stem))
        raise DataError(
            path,
            found="no such split file",
            expected=f"one of the splits {present}" if present else "a file with one image id per line",
            fix="name another split",
        )
    return tuple(listed_id(line, known) for line in read_lines(inside(root, path), "image ids"))


def _read_object(path: Path, element: Element, classes: Sequence[str]) -> tuple[list[float], int, bool]:
    """Box as in the file, label, difficult."""
    name = (element.findtext("name") or "").strip()
    if name not in classes:
        raise DataError(
            path,
            found=f"an object of class {name!r}",
            expected=f"one of {', '.join(classes)}",
            fix="correct the name or pass the data set's own classes",
        )
    edges = [element.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
    try:
        box = [float(edge or "") for edge in edges]
    except (TypeError, ValueError) as error:
        raise DataError(
            path,
            found=f"bndbox {edges} of a {name}",
            expected="numbers xmin, ymin, xmax, ymax",
            fix="correct or delete the object",
        ) from error
    difficult = (element.findtext("difficult") or "0").strip()
    if difficult not in ("0", "1"):
        raise DataError(path, found=f"difficult {difficult!r}", expected="0 or 1", fix="correct the object")
    return box, classes.index(name), difficult == "1"


def _declared(root: Element) -> tuple[int, int] | None:
    """(width, height) of <size>; None where it is missing or, as some tools write it, 0."""
    sides = [(root.findtext(f"size/{side}") or "").strip() for side in ("width", "height")]
    return (int(sides[0]), int(sides[1])) if all(side.isdecimal() and int(side) > 0 for side in sides) else None


def _check_inside(path: Path, boxes: torch.Tensor, size: tuple[int, int]) -> None:
    """Raises DataError for a box without area, or one that leaves the image by more than a pixel's rounding."""
    height, width = size
    limit = boxes.new_tensor([width, height]) + 1
    fits = (boxes[:, :2] < boxes[:, 2:]) & (boxes[:, :2] >= -1) & (boxes[:, 2:] <= limit)
    wrong = ~fits.all(dim=1)
    if wrong.any():
        raise DataError(
            path,
            found=f"box {boxes[wrong][0].tolist()} (left, top, right, bottom)",
            expected=f"left < right, top < bottom, inside the {width}x{height} image",
            fix="correct or delete the object",
        )
