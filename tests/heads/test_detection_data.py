"""VOC's and COCO's layouts; malformed files give one clear line."""

import json

import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.coco import CocoDetection, coco_split
from tadp_heads.data.readers.voc_detection import VOC_CLASSES, WATERCOLOR_CLASSES, VOCDetection

OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>{part}</object>"""


def voc_object(name="dog", box=(1, 1, 10, 10), difficult=0, part=""):
    return OBJECT.format(name=name, box=box, difficult=difficult, part=part)


def write_annotation(root, sample_id, *objects):
    text = f"<annotation><filename>{sample_id}.jpg</filename>{''.join(objects)}</annotation>"
    (root / "Annotations" / f"{sample_id}.xml").write_text(text)


@pytest.fixture
def voc(tmp_path):
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (tmp_path / folder).mkdir(parents=True)
    for sample_id in ("000005", "2007_000032"):
        Image.new("RGB", (40, 30), (10, 200, 30)).save(tmp_path / "JPEGImages" / f"{sample_id}.jpg")
    part = "<part><name>head</name><bndbox><xmin>3</xmin><ymin>3</ymin><xmax>4</xmax><ymax>4</ymax></bndbox></part>"
    write_annotation(
        tmp_path,
        "000005",
        voc_object(),
        voc_object("person", (5, 7, 40, 30), 1, part),
        voc_object("car", (2.5, 3, 9, 8)),
    )
    write_annotation(tmp_path, "2007_000032")
    (tmp_path / "ImageSets" / "Main" / "test.txt").write_text("000005\n2007_000032\n")
    (tmp_path / "ImageSets" / "Main" / "dog_test.txt").write_text("000005  1\n")
    return tmp_path


def test_voc_boxes_are_edges_from_zero(voc):
    dataset = VOCDetection(voc, "test")
    sample = dataset[0]
    assert sample.id == "000005"
    assert sample.image.shape == (3, 30, 40)
    assert sample.target["boxes"].tolist() == [[0, 0, 10, 10], [4, 6, 40, 30], [1.5, 2, 9, 8]]
    assert [VOC_CLASSES[label] for label in sample.target["labels"].tolist()] == ["dog", "person", "car"]
    assert sample.target["difficult"].tolist() == [False, True, False]
    empty = dataset[1].target
    assert empty["boxes"].shape == (0, 4)
    assert empty["labels"].dtype == torch.int64
    assert empty["difficult"].dtype == torch.bool


def test_voc_boxes_can_be_left_as_in_the_file(voc):
    assert VOCDetection(voc, "test", xml_frame=True)[0].target["boxes"][0].tolist() == [1, 1, 10, 10]


def test_voc_splits(voc):
    assert VOCDetection(voc).ids == ("000005", "2007_000032")
    assert VOCDetection(voc, "dog_test").ids == ("000005",)
    with pytest.raises(DataError, match=r"val\.txt: found no such split file, expected one of the splits test"):
        VOCDetection(voc, "val")


def test_boxes_move_with_the_image(voc):
    sample = VOCDetection(voc, "test", transform=v2.RandomHorizontalFlip(1.0))[0]
    assert sample.target["boxes"].tolist()[0] == [30, 0, 40, 10]
    assert sample.target["labels"].tolist() == VOCDetection(voc, "test")[0].target["labels"].tolist()


def test_the_six_classes_are_vocs(voc):
    assert set(WATERCOLOR_CLASSES) <= set(VOC_CLASSES)
    assert len(VOC_CLASSES) == 20
    six = VOCDetection(voc, "test", classes=WATERCOLOR_CLASSES)[0]
    assert [WATERCOLOR_CLASSES[label] for label in six.target["labels"].tolist()] == ["dog", "person", "car"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", r"000005\.xml: found no valid XML"),
        (voc_object("unicorn"), r"found an object of class 'unicorn', expected one of aeroplane, "),
        (voc_object().replace("<name>dog</name>", ""), r"found an object of class ''"),
        (voc_object().replace("<xmax>10</xmax>", ""), r"found bndbox \['1', '1', None, '10'\] of a dog"),
        (voc_object(box=("x", 1, 2, 3)), r"found bndbox \['x', '1', '2', '3'\]"),
        (voc_object(box=(9, 1, 5, 10)), r"found box \[8\.0, 0\.0, 5\.0, 10\.0\].*left < right"),
        (voc_object(box=(1, 1, 60, 10)), r"inside the 40x30 image"),
        (voc_object(box=("nan", 1, 5, 10)), r"found box \[nan"),
        (voc_object(difficult="maybe"), r"found difficult 'maybe', expected 0 or 1"),
    ],
)
def test_malformed_voc_annotations_give_one_line(voc, text, message):
    path = voc / "Annotations" / "000005.xml"
    path.write_text(text if text.startswith("<annotation>") else f"<annotation>{text}</annotation>")
    with pytest.raises(DataError, match=message) as caught:
        VOCDetection(voc, "test")[0]
    assert "\n" not in str(caught.value)


def test_missing_voc_files_are_named(voc, tmp_path):
    (voc / "Annotations" / "000005.xml").unlink()
    with pytest.raises(DataError, match=r"000005\.xml: found no file"):
        VOCDetection(voc, "test")[0]
    (voc / "JPEGImages" / "2007_000032.jpg").unlink()
    with pytest.raises(DataError, match="found no image '2007_000032'"):
        VOCDetection(voc, "test")
    with pytest.raises(DataError, match="found no folder"):
        VOCDetection(tmp_path / "nowhere", "test")


@pytest.fixture
def coco(tmp_path):
    (tmp_path / "val2017").mkdir()
    (tmp_path / "annotations").mkdir()
    for name in ("000000000139.jpg", "000000000285.jpg"):
        Image.new("RGB", (40, 30)).save(tmp_path / "val2017" / name)
    content = {
        "images": [{"id": 285, "file_name": "000000000285.jpg"}, {"id": 139, "file_name": "000000000139.jpg"}],
        "categories": [{"id": 18, "name": "dog"}, {"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 139, "category_id": 18, "bbox": [4, 5, 10, 20], "iscrowd": 0},
            {"id": 2, "image_id": 139, "category_id": 1, "bbox": [0, 0, 40.0, 30], "iscrowd": 1},
            {"id": 3, "image_id": 139, "category_id": 1, "bbox": [7, 7, 0, 5]},
        ],
    }
    write_coco(tmp_path, content)
    return tmp_path, content


def write_coco(root, content):
    (root / "annotations" / "instances_val2017.json").write_text(json.dumps(content))


def test_coco_boxes_classes_and_crowds(coco):
    dataset = coco_split(coco[0], "val2017")
    assert dataset.classes == ("person", "dog")
    assert dataset.ids == ("000000000285", "000000000139")
    assert dataset.skipped == [3]
    assert dataset[0].target["boxes"].shape == (0, 4)
    target = dataset[1].target
    assert target["boxes"].tolist() == [[4, 5, 14, 25], [0, 0, 40, 30]]
    assert target["labels"].tolist() == [1, 0]
    assert target["difficult"].tolist() == [False, True]


def change(path, value):
    """A change of one entry of the file, by its path."""

    def apply(content):
        *parents, last = path
        for key in parents:
            content = content[key]
        content[last] = value

    return apply


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (change(["categories"], None), "found no list 'categories'"),
        (change(["annotations"], {}), "found no list 'annotations'"),
        (change(["annotations", 0, "image_id"], 7), "found image_id 7 of no image in annotation 1"),
        (change(["annotations", 0, "category_id"], 2), "found category_id 2 of no category"),
        (change(["annotations", 0, "bbox"], [1, 2, 3]), r"found bbox \[1, 2, 3\]"),
        (change(["annotations", 0, "bbox"], [1, 2, -3, 4]), r"found bbox \[1, 2, -3, 4\]"),
        (change(["annotations", 0, "bbox"], [1, 2, "3", 4]), "found bbox"),
        (change(["annotations", 0, "bbox"], None), "expected 'bbox' as list"),
        (change(["annotations", 0, "bbox"], [30, 2, 30, 4]), "outside its 40x30 pixels"),
        (change(["images", 0, "file_name"], None), "expected 'file_name' as str"),
        (change(["images", 0, "id"], 139), "found 2 images with 1 different ids and names"),
        (change(["images", 1, "file_name"], "gone.jpg"), r"gone\.jpg: found no file"),
    ],
)
def test_malformed_coco_files_give_one_line(coco, spoil, message):
    root, content = coco
    spoil(content)
    write_coco(root, content)
    with pytest.raises(DataError, match=message) as caught:
        list(coco_split(root, "val2017"))
    assert "\n" not in str(caught.value)


def test_files_that_are_no_json_are_named(coco, tmp_path):
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataError, match="found no valid JSON"):
        CocoDetection(coco[0] / "val2017", tmp_path / "x.json")
    with pytest.raises(DataError, match="found no file"):
        CocoDetection(coco[0] / "val2017", tmp_path / "y.json")
