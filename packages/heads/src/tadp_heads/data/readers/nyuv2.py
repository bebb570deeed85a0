"""NYU Depth V2 as prepared for BTS and its successors: sync/ to train on, official_splits/test/ with 654 images."""

import logging
import re
from pathlib import Path

from tadp_heads.data.errors import DataError
from tadp_heads.data.files import read_lines, require_folder
from tadp_heads.data.readers.depth_folder import DepthPairs
from tadp_heads.data.safe_paths import inside
from tadp_heads.data.sample import Transform

log = logging.getLogger(__name__)

SPLIT_FOLDERS = {"train": "sync", "test": "official_splits/test"}
PUBLISHED_COUNTS = {"train": 24231, "test": 654}
"""Pairs of each split in the public lists, which the paper trains and tests on."""
ROOM_TYPES = (
    "printer_room",
    "bathroom",
    "living_room",
    "study",
    "conference_room",
    "study_room",
    "kitchen",
    "home_office",
    "bedroom",
    "dinette",
    "playroom",
    "indoor_balcony",
    "laundry_room",
    "basement",
    "excercise_room",
    "foyer",
    "home_storage",
    "cafe",
    "furniture_store",
    "office_kitchen",
    "student_lounge",
    "dining_room",
    "reception_room",
    "computer_lab",
    "classroom",
    "office",
    "bookstore",
)
"""VPD's room types (its nyu_class_list.json), verbatim and in its order: the first one in a scene's name counts."""


class NYUv2(DepthPairs):
    """`root`/sync/SCENE/ and `root`/official_splits/test/SCENE/ with rgb_N.jpg and sync_depth_N.png (millimetres).

    Ids are the image's path below the split's folder with a leading slash ("/bathroom/rgb_00045.jpg"), which is how the
    public list and caption files name them. `list_file`: lines "IMAGE DEPTH [...]" of such paths, e.g. the 24231
    training pairs of the public list. Without it `root`/train_list.txt or test_list.txt is read where it lies there, as
    the public lists are called, else every pair found is used. Another number of pairs than PUBLISHED_COUNTS is
    logged as a warning.
    """

    def __init__(
        self, root: str | Path, split: str, transform: Transform | None = None, *, list_file: str | Path | None = None
    ):
        if split not in SPLIT_FOLDERS:
            raise ValueError(f"unknown split {split!r} of NYUv2; choose from {', '.join(SPLIT_FOLDERS)}")
        folder = require_folder(Path(root) / SPLIT_FOLDERS[split], f"NYUv2's {split} scenes", Path(root))
        listed = Path(root) / f"{split}_list.txt"
        if list_file is None and listed.is_file():
            list_file = inside(Path(root), listed)
        depth_of = _listed(Path(list_file)) if list_file is not None else _found(folder)
        if len(depth_of) != PUBLISHED_COUNTS[split]:
            log.warning(
                "NYUv2 %s has %d image pairs (%s), expected %d: metrics are not comparable with published ones; put "
                "the public list of pairs at %s",
                split,
                len(depth_of),
                "all that were found" if list_file is None else list_file,
                PUBLISHED_COUNTS[split],
                listed,
            )
        source = None if list_file is None else Path(list_file)

        def place(name: str) -> Path:
            return inside(Path(root), folder / name[1:], source)

        super().__init__({name: (place(name), place(depth)) for name, depth in depth_of.items()}, transform)


def room_type(sample_id: str) -> str:
    """ "/living_room_0019b/rgb_00111.jpg" -> "living room": the scene's kind, VPD's only text for depth.

    As in VPD's reader (depth/dataset/nyudepthv2.py) the first of ROOM_TYPES in the scene's name: "study" for
    study_room_0004, "kitchen" for office_kitchen_0003, "office" for nyu_office_0. Scenes of no such type, of which the
    public lists have none, are called like their folder without its number.
    """
    scene = sample_id.strip("/").split("/")[0]
    room = next((room for room in ROOM_TYPES if room in scene), re.sub(r"_\d+[a-z]?$", "", scene))
    return room.replace("_", " ")


def _listed(path: Path) -> dict[str, str]:
    pairs = {}
    for number, line in enumerate(read_lines(path, "an image and a depth map"), start=1):
        columns = line.split()
        if len(columns) < 2:
            raise DataError(
                path,
                found=f"{line!r} in line {number}",
                expected="an image and a depth map, separated by a blank",
                fix="use the public list of NYUv2 pairs",
            )
        image, depth = ("/" + column.lstrip("/") for column in columns[:2])
        pairs[image] = depth
    return pairs


def _found(folder: Path) -> dict[str, str]:
    """Every rgb_N image with its sync_depth_N.png, sorted; images without one, as the raw stream has, are left out."""
    pairs = {}
    for image in sorted(folder.glob("*/rgb_*.jpg")):
        depth = image.with_name(image.name.replace("rgb_", "sync_depth_")).with_suffix(".png")
        if depth.is_file():
            pairs[f"/{image.relative_to(folder).as_posix()}"] = f"/{depth.relative_to(folder).as_posix()}"
    if not pairs:
        raise DataError(
            folder,
            found="no pair of images",
            expected="SCENE/rgb_N.jpg with SCENE/sync_depth_N.png",
            fix="check that the root is the folder that holds sync/ and official_splits/",
        )
    return pairs
