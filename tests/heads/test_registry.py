"""Every data set of the registry from its official layout on disk; joins; classes of one in those of another."""

import json
from pathlib import Path

import pytest
import torch
from official_layouts import LAYOUTS, SIZE, acdc, coco, nyu, text, voc0712, voc_boxes

from tadp_heads.data.class_names import class_mapping
from tadp_heads.data.concat import InClasses, Joined
from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.coco import coco_split
from tadp_heads.data.readers.voc_detection import VOC_CLASSES, WATERCOLOR_CLASSES, VOCDetection
from tadp_heads.data.registry import DATASETS, check_data, labelled_splits, open_data, open_dataset
from tadp_heads.data.sample import SampleDataset
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.tasks import get_task

ART = ("watercolor2k", "comic2k", "clipart1k")
CASES = [(name, split) for name, entry in DATASETS.items() for split in entry.splits]


@pytest.mark.parametrize(("name", "split"), CASES)
def test_each_split_is_read_from_its_official_layout(tmp_path, name, split):
    LAYOUTS[name](tmp_path, split)
    dataset = open_dataset(name, tmp_path, split)
    several = {"acdc": 1 if "/" in split else 4, "bdd100k": 2}
    assert len(dataset) == several.get(name, 2 if (name, split) in JOINED else 1)
    assert dataset.task == DATASETS[name].task
    assert len(dataset.palette) == len(dataset.classes) == len(set(dataset.palette))
    image, target, sample_id = dataset[0]
    assert sample_id in dataset.ids
    assert dataset.image_files[sample_id].is_file()
    assert image.shape == (3, SIZE[1], SIZE[0])
    if dataset.task == "detection":
        left, top = (1, 2) if name in ("voc0712-boxes-xml", "coco") else (0, 1)
        assert target["boxes"][0, :2].tolist() == [left, top]
        assert dataset.classes[target["labels"][0]] == "person"
    else:
        assert target.shape == (SIZE[1], SIZE[0])
    changed = open_dataset(name, tmp_path, split, lambda image, target: (image.flip(0), target))
    assert changed.ids == dataset.ids
    assert torch.equal(changed[0].image, image.flip(0))
    reports = check_data(f"{name}:{tmp_path}")
    assert len(dataset) in [report.images for report in reports]
    assert all(report.ok for report in reports)
    get_task(dataset.task).metric(dataset.classes, next(iter(get_task(dataset.task).protocols)))


def test_a_data_set_that_names_no_image_files_says_so():
    class Blank(SampleDataset):
        task = "depth"

        def read(self, sample_id):
            raise NotImplementedError

    dataset = Blank(["a"], [])
    with pytest.raises(ValueError, match="Blank does not say which files its images are in: set its image_files"):
        _ = dataset.image_files
    dataset.image_files = {"a": Path("a.png")}  # as a reader's constructor does
    assert dataset.image_files == {"a": Path("a.png")}


@pytest.mark.parametrize(
    ("task", "labels"), [("segmentation", "masks"), ("depth", "depth"), ("detection", "Annotations")]
)
def test_splits_with_labels_are_found_in_a_folder(tmp_path, task, labels):
    """A split whose images have no labels, and a list of something else, are none."""
    other = "depth" if task == "segmentation" else "segmentation"
    assert labelled_splits(tmp_path, task) == ()
    for split in ("val", "bare", "train"):
        write_scenes(tmp_path, task=task, domain="photo", split=split, count=2, seed=0, size=32)
    lists = tmp_path / "ImageSets" / "Main" if task == "detection" else tmp_path
    for file in (tmp_path / labels).glob("bare_*"):
        file.unlink()
    text(lists / "notes.txt", "made in March\n")
    assert labelled_splits(tmp_path, task) == ("train", "val")
    assert labelled_splits(tmp_path, other) == ()
    (tmp_path / labels).rename(tmp_path / "elsewhere")
    assert labelled_splits(tmp_path, task) == ()


def test_splits_with_labels_are_found_in_json_and_by_name(tmp_path):
    for split in ("train2017", "val2017"):
        coco(tmp_path, split)
    assert labelled_splits(tmp_path, "detection") == labelled_splits(f"coco:{tmp_path}", "detection")
    file = tmp_path / "annotations" / "instances_train2017.json"
    text(file, json.dumps(json.loads(file.read_text()) | {"annotations": []}))
    assert labelled_splits(tmp_path, "detection") == ("val2017",)
    acdc(tmp_path / "acdc", "night/val")
    assert labelled_splits(f"acdc:{tmp_path / 'acdc'}", "segmentation") == ("night/val",)
    with pytest.raises(ValueError, match="acdc is a data set for segmentation, not for depth"):
        labelled_splits(f"acdc:{tmp_path}", "depth")
    with pytest.raises(DataError, match="found no folder"):
        labelled_splits(f"acdc:{tmp_path / 'no'}", "segmentation")


JOINED = {("voc0712-boxes", "trainval"), ("voc0712-boxes-xml", "trainval")}


def test_every_data_set_is_documented(repository):
    page = (repository / "docs" / "datasets.md").read_text()
    assert [name for name in DATASETS if f"`{name}`" not in page] == []


def test_a_year_is_not_taken_for_another(tmp_path):
    voc_boxes(tmp_path / "VOC2012", "trainval", "2007_000032")
    with pytest.raises(DataError, match=r"found no VOC2007/JPEGImages"):
        open_dataset("voc2007-boxes", tmp_path / "VOC2012", "trainval")
    assert len(open_dataset("voc2012-boxes", tmp_path / "VOC2012", "trainval")) == 1


def test_joined_data_keeps_every_id_once(tmp_path):
    voc0712(tmp_path, "trainval")
    parts = [VOCDetection(tmp_path / "VOCdevkit" / year, "trainval") for year in ("VOC2007", "VOC2012")]
    joined = Joined(parts, transform=lambda image, target: (image.flip(-1), target))
    assert joined.ids == ("000005", "2007_000032")
    assert torch.equal(joined[1].image, parts[1][0].image.flip(-1))
    with pytest.raises(ValueError, match="'000005' is in several"):
        Joined([parts[0], parts[0]])
    coco(tmp_path, "val2017")
    with pytest.raises(ValueError, match="detection of 8 classes cannot follow detection of 20"):
        Joined([*parts, coco_split(tmp_path, "val2017")])


def test_coco_in_the_classes_of_voc_joins_voc(tmp_path):
    coco(tmp_path, "val2017")
    voc0712(tmp_path, "trainval")
    boxes = InClasses(coco_split(tmp_path, "val2017"), VOC_CLASSES)
    target = boxes[0].target
    names = [VOC_CLASSES[label] for label in target["labels"].tolist()]
    assert names == ["person", "aeroplane", "diningtable", "pottedplant", "tvmonitor", "sofa", "motorbike"]
    assert target["boxes"].tolist()[3] == [1, 2, 9, 8]
    assert len(target["difficult"]) == 7
    both = Joined([boxes, VOCDetection(tmp_path / "VOCdevkit" / "VOC2007", "trainval")])
    assert len(both) == 2
    with pytest.raises(ValueError, match="none of apple"):
        InClasses(boxes, ["apple"])


def test_twenty_classes_are_evaluated_as_six():
    """A detector of VOC's classes on Watercolor2k: other classes are dropped, the six renumbered."""
    task = get_task("detection")
    labels = torch.tensor([VOC_CLASSES.index(name) for name in ("dog", "sheep", "person", "aeroplane", "bicycle")])
    boxes = torch.arange(20, dtype=torch.float32).reshape(5, 4)
    prediction = {"boxes": boxes, "scores": torch.linspace(0.9, 0.5, 5), "labels": labels}
    translated = task.translate(prediction, VOC_CLASSES, WATERCOLOR_CLASSES)
    assert [WATERCOLOR_CLASSES[label] for label in translated["labels"].tolist()] == ["dog", "person", "bicycle"]
    assert torch.equal(translated["boxes"], boxes[[0, 2, 4]])
    torch.testing.assert_close(translated["scores"], torch.tensor([0.9, 0.7, 0.5]))
    assert len(class_mapping(VOC_CLASSES, WATERCOLOR_CLASSES)) == 6
    with pytest.raises(ValueError, match="classes zebra are not among those of the model"):
        task.translate(prediction, VOC_CLASSES, ("zebra",))
    with pytest.raises(ValueError, match="the model knows the classes sky; the data has road"):
        get_task("segmentation").translate(torch.zeros(2, 2), ("sky",), ("road",))


def test_wrong_names_tasks_and_splits(tmp_path):
    nyu(tmp_path, "test")
    assert len(open_data(f"nyuv2:{tmp_path}", "depth", "test")) == 1
    with pytest.raises(ValueError, match="unknown data set 'imagenet'; choose from voc2012"):
        open_dataset("imagenet", tmp_path, "val")
    with pytest.raises(ValueError, match="nyuv2 is a data set for depth, not for detection"):
        open_data(f"nyuv2:{tmp_path}", "detection", "test")
    with pytest.raises(ValueError, match="name one of its splits train, test"):
        open_data(f"nyuv2:{tmp_path}")
    with pytest.raises(ValueError, match="nyuv2 has no split 'val'"):
        open_data(f"nyuv2:{tmp_path}", split="val")
    with pytest.raises(DataError, match="found no folder"):
        open_data(f"nyuv2:{tmp_path}/no", split="test")
    with pytest.raises(DataError, match="found no folder"):
        open_data(tmp_path / "imagenet:folder")


@pytest.mark.parametrize("rules", ["voc2007-paper", "voc2012-paper"])
def test_a_perfect_detector_of_xml_numbers_gets_one_ap_on_voc_and_on_art(tmp_path, rules):
    """Watercolor2k and its siblings were read with left and top one pixel less than the numbers such a detector has
    learned: 0.9 in place of 0.95 at IoU thresholds, and below."""
    found = {"boxes": torch.tensor([[1.0, 2, 10, 12]]), "scores": torch.ones(1), "labels": torch.tensor([0])}
    scores = {}
    for name in ("voc0712-boxes-xml", "voc0712-boxes", *ART):
        LAYOUTS[name](tmp_path / name, "test")
        dataset = open_dataset(name, tmp_path / name, "test")
        metric = get_task("detection").metric(dataset.classes, rules)
        for sample in dataset:
            own = {**found, "labels": found["labels"] + dataset.classes.index("person")}
            metric.update(own, get_task("detection").evaluation_target(sample.target, rules))
        scores[name] = metric.compute()
    assert all(score == scores["voc0712-boxes-xml"] for score in scores.values())
    assert scores["comic2k"]["AP75"] == 1


def test_a_detector_of_edges_gets_one_ap_on_voc_and_on_art(tmp_path):
    """By other rules boxes are edges that count from 0 everywhere."""
    for name in ("voc0712-boxes", *ART):
        LAYOUTS[name](tmp_path / name, "test")
        assert open_dataset(name, tmp_path / name, "test")[0].target["boxes"].tolist() == [[0, 1, 10, 12]]


_VOC = {0: "airplane", 10: "dining table", 13: "motorcycle", 15: "potted plant", 19: "television"}
PROMPT_NAMES = {name: _VOC for name in DATASETS if "boxes" in name} | {
    "voc2012": {0: "background", **{label + 1: name for label, name in _VOC.items()}},
    "clipart1k": _VOC,
    "ade20k": {0: "thing 1", 149: "thing 150"},
    "cityscapes": {6: "traffic light", 18: "bicycle"},
    "coco": {1: "airplane", 2: "dining table", 4: "tv"},
}


@pytest.mark.parametrize("name", DATASETS)
def test_classes_have_names_for_prompts_apart_from_those_of_the_label_files(tmp_path, name):
    """Pascal's prompts said "aeroplane diningtable"; CLIP reads these as other words than a caption's."""
    split = DATASETS[name].splits[-1]
    LAYOUTS[name](tmp_path, split)
    dataset = open_dataset(name, tmp_path, split)
    assert len(dataset.prompt_names) == len(dataset.classes) == len(set(dataset.prompt_names))
    assert all(dataset.prompt_names)
    assert "background" not in dataset.prompt_names[1:]
    for label, prompt in PROMPT_NAMES.get(name, {}).items():
        assert dataset.prompt_names[label] == prompt
    if dataset.task == "detection":
        assert InClasses(dataset, ["person"]).prompt_names == ("person",)


def test_prompts_name_the_classes_that_objects_are_brought_into(tmp_path):
    coco(tmp_path, "val2017")
    names = dict(zip(VOC_CLASSES, InClasses(coco_split(tmp_path, "val2017"), VOC_CLASSES).prompt_names, strict=True))
    assert names["aeroplane"] == "airplane"
    assert names["tvmonitor"] == "tv"
