"""Data sets from anywhere: what is malformed is named in one line, and nothing outside their folder is read."""

import json
import os
import shutil
import struct

import numpy as np
import pytest
from damaged import SAFETENSORS, save_broken_avif
from official_layouts import LAYOUTS, mask, picture, text, voc_boxes
from PIL import features

from tadp_heads.data.errors import DataError
from tadp_heads.data.image_io import open_image
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.readers.xml_files import read_xml
from tadp_heads.data.registry import DATASETS, check_data, open_data
from tadp_heads.depth.files import read_depth
from tadp_heads.pretrained import read_config, read_json, read_safetensors
from tadp_heads.saved_model import _SavedConfig
from tadp_heads.segmentation.head import FPNHead, SegmentationHeadConfig

LEVELS = [[8, 8], [8, 16]]


def refused(call, *shown):
    with pytest.raises(DataError, match=r"^[^\n]+$") as caught:
        call()
    assert all(part in str(caught.value) for part in shown), str(caught.value)


@pytest.mark.parametrize(
    ("declared", "written"),
    [("GB2312", "gb2312"), ("gbk", "gbk"), ("utf8", "utf-8"), ("utf8mb4", "utf-8"), ("GB2312", "utf-8")],
)
def test_xml_is_read_whatever_encoding_it_declares(tmp_path, declared, written):
    content = f'<?xml version="1.0" encoding="{declared}"?>\n<annotation><owner>猫</owner></annotation>'
    (tmp_path / "a.xml").write_bytes(content.encode(written))
    assert read_xml(tmp_path / "a.xml").findtext("owner") == "猫"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        '<?xml version="1.0" encoding="utf8mb4"?><a>\u72d7</a>'.encode("gbk"),
        b'<?xml version="1.0" encoding="hex"?><a>\xff</a>',
        b'<?xml version="1.0" encoding="undefined"?><a>\xff</a>',
        b"<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]><a>&b;</a>",
    ],
)
def test_what_is_no_xml_is_named(tmp_path, content):
    (tmp_path / "a.xml").write_bytes(content)
    refused(lambda: read_xml(tmp_path / "a.xml"), "a.xml", "no valid XML")


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
def test_a_decoder_that_fails_in_its_own_way_is_a_broken_image(tmp_path):
    """Pillow's AVIF decoder raises RuntimeError."""
    save_broken_avif(tmp_path / "a.avif")
    refused(lambda: open_image(tmp_path / "a.avif"), "a.avif: found a broken image")


def test_one_malformed_annotation_does_not_hide_the_others(tmp_path):
    """Without classes.txt the names are looked up in every annotation first."""
    for name in ("a", "b", "c"):
        voc_boxes(tmp_path, "train", name)
    text(tmp_path / "ImageSets/Main/train.txt", "a\nb\nc\n")
    (tmp_path / "Annotations/a.xml").write_bytes(b'<?xml version="1.0" encoding="nope"?>\xff')
    text(tmp_path / "Annotations/b.xml", "<annotation><object></object></annotation>")
    (report,) = check_data(tmp_path)
    assert report.images == 3
    assert report.histogram == {"person": 1}
    assert [name in problem for name, problem in zip(("a.xml", "b.xml"), report.problems, strict=True)] == [True, True]


@pytest.mark.parametrize(
    "number", ["1e400", "NaN", "-Infinity", "9" * 400, "9" * 5000, "true", '"3"', "[1]"], ids=lambda number: number[:9]
)
def test_numbers_that_no_float_holds_are_named(tmp_path, number):
    LAYOUTS["coco"](tmp_path, "val2017")
    file = tmp_path / "annotations/instances_val2017.json"
    file.write_text(file.read_text().replace("[1, 2, 5, 6]", f"[1, 2, {number}, 6]"))
    refused(lambda: open_data(f"coco:{tmp_path}", split="val2017"), "instances_val2017.json")


@pytest.mark.parametrize("edge", ["1e400", "nan", "1" * 500], ids=lambda edge: edge[:9])
def test_edges_that_no_float_holds_are_named(tmp_path, edge):
    voc_boxes(tmp_path, "train", "a")
    file = tmp_path / "Annotations/a.xml"
    file.write_text(file.read_text().replace("<xmax>10<", f"<xmax>{edge}<"))
    refused(lambda: open_folder(tmp_path, "detection", "train")[0], "a.xml")


def npy_header(shape: str, dtype: str = "<f4") -> bytes:
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x05\x06" + bytes(18),
        npy_header("(1000000, 1000000)"),
        npy_header("(10000000000000000000000, 2)"),
        npy_header("(-2, 2)") + bytes(16),
        npy_header("(2, 2)", "|O") + bytes(16),
        npy_header("(" * 3000),
        npy_header("None"),
        npy_header("(2, 2)", "<q9"),
    ],
)
def test_arrays_that_are_none_or_beyond_all_memory_are_named(tmp_path, content):
    (tmp_path / "d.npy").write_bytes(content)
    refused(lambda: read_depth(tmp_path / "d.npy"), "d.npy", "no array")


def test_an_npz_is_no_npy(tmp_path):
    np.savez(tmp_path / "d.npz", np.ones((2, 2)))
    os.rename(tmp_path / "d.npz", tmp_path / "d.npy")
    refused(lambda: read_depth(tmp_path / "d.npy"), "d.npy", "no array")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[" * 100_000, b"1" * 5000])
def test_what_is_no_json_is_named(tmp_path, content):
    (tmp_path / "c.json").write_bytes(content)
    refused(lambda: read_json(tmp_path / "c.json"), "c.json", "no valid JSON")


@pytest.mark.parametrize("damage", SAFETENSORS)
def test_damaged_tensors_are_named(tmp_path, damage):
    (tmp_path / "m.safetensors").write_bytes(SAFETENSORS[damage])
    refused(lambda: read_safetensors(tmp_path / "m.safetensors"), "m.safetensors", "no complete .safetensors file")


@pytest.mark.parametrize(
    "wrong",
    [
        {"num_classes": "3"},
        {"num_classes": 3.0},
        {"num_classes": True},
        {"num_classes": None},
        {"variant": 7},
        {"variant": "none"},
        {"levels": 8},
        {"levels": [[8, 8], [8]]},
        {"levels": [[8, "8"], [8, 16]]},
        {"levels": []},
        {"width": [8]},
    ],
)
def test_values_of_wrong_types_are_named(tmp_path, wrong):
    values = {"levels": LEVELS, "num_classes": 3} | wrong
    refused(lambda: read_config(SegmentationHeadConfig, values, tmp_path / "config.json"), "config.json")


def test_what_is_saved_has_the_right_types(tmp_path):
    FPNHead(LEVELS, 3, width=64).save_pretrained(tmp_path)
    assert FPNHead.from_pretrained(tmp_path).config.num_classes == 3


@pytest.fixture
def secret(tmp_path):
    """A file of the user's that no data set has anything to do with."""
    picture(tmp_path / "home" / "secret.png")
    mask(tmp_path / "home" / "mask.png", 0, 1)
    text(tmp_path / "home" / "words.txt", "password\n")
    return tmp_path / "home"


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    picture(root / "images" / "a.png")
    mask(root / "masks" / "a.png", 0, 1)
    text(root / "classes.txt", "ground\ntree\n")
    text(root / "train.txt", "a\n")
    return root


LINKS = {
    "images/b.png": "secret.png",
    "images": ".",
    "masks/a.png": "mask.png",
    "masks": ".",
    "classes.txt": "words.txt",
    "train.txt": "words.txt",
}


@pytest.mark.parametrize("name", LINKS)
def test_links_out_of_the_folder_are_refused_unless_allowed(folder, secret, monkeypatch, name):
    place = folder / name
    if place.is_dir():
        place.rename(folder / "moved")
    else:
        place.unlink(missing_ok=True)
    place.symlink_to(secret / LINKS[name])
    refused(lambda: open_folder(folder, "segmentation", "train")[0], name, "leads out of the data set's folder")
    (report,) = check_data(folder)
    assert any("leads out of" in problem for problem in report.problems)
    monkeypatch.setenv("TADP_READ_OUTSIDE", "1")
    if name in ("images/b.png", "masks/a.png"):
        assert open_folder(folder, "segmentation", "train")[0].image.ndim == 3


@pytest.mark.parametrize("name", LAYOUTS)
def test_whatever_of_a_data_set_is_a_link_out_of_it_is_refused(tmp_path, name):
    """Each of its files and folders in turn."""
    split = DATASETS[name].splits[0]
    LAYOUTS[name](tmp_path / "whole", split)
    for place in sorted((tmp_path / "whole").rglob("*")):
        relative = place.relative_to(tmp_path / "whole")
        root = shutil.copytree(tmp_path / "whole", tmp_path / relative.as_posix().replace("/", "-"))
        elsewhere = (root / relative).rename(tmp_path / "elsewhere")
        (root / relative).symlink_to(elsewhere)
        refused(lambda root=root: list(open_data(f"{name}:{root}", split=split)), root.name)
        elsewhere.rename(tmp_path / f"{root.name} moved")


def test_links_within_the_folder_and_to_the_folder_are_followed(folder, tmp_path):
    picture(folder / "raw" / "b.png")
    (folder / "images" / "b.png").symlink_to("../raw/b.png")
    mask(folder / "masks" / "b.png", 0, 1)
    (tmp_path / "link").symlink_to(folder)
    text(folder / "train.txt", "a\nb\n")
    assert len(list(open_folder(tmp_path / "link", "segmentation", "train"))) == 2


def test_an_annotation_that_is_a_link_out_of_the_folder_is_refused(tmp_path, secret):
    root = tmp_path / "voc"
    voc_boxes(root, "train", "a")
    (root / "Annotations/a.xml").unlink()
    (root / "Annotations/a.xml").symlink_to(secret / "words.txt")
    text(root / "classes.txt", "person\n")
    refused(lambda: open_folder(root, "detection", "train")[0], "a.xml", "leads out of")


@pytest.mark.parametrize("name", ["../home/secret.png", "{home}/secret.png", "a/../../home/secret.png", "linked.png"])
def test_file_names_of_coco_that_lead_out_are_refused(tmp_path, secret, name):
    root = tmp_path / "coco"
    LAYOUTS["coco"](root, "val2017")
    (root / "val2017" / "linked.png").symlink_to(secret / "secret.png")
    file = root / "annotations/instances_val2017.json"
    content = json.loads(file.read_text())
    content["images"][0]["file_name"] = name = name.format(home=secret)
    file.write_text(json.dumps(content))
    refused(lambda: open_data(f"coco:{root}", split="val2017")[0], "instances_val2017.json", name, "leads out of")


def test_lines_of_a_list_of_nyu_that_lead_out_are_refused(tmp_path, secret):
    root = tmp_path / "nyu"
    LAYOUTS["nyuv2"](root, "train")
    text(root / "train_list.txt", "../../home/secret.png ../../home/secret.png 518.8\n")
    refused(lambda: open_data(f"nyuv2:{root}", split="train"), "train_list.txt", "secret.png", "leads out of")


def test_the_shape_of_a_saved_context_is_checked(tmp_path):
    for shape in ("x", [1.5], {"a": 1}, [[1]]):
        values = {"model": {}, "head": {}, "context_shape": shape}
        refused(lambda values=values: read_config(_SavedConfig, values, tmp_path / "config.json"), "config.json")
