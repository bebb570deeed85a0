"""Depth files and data sets; malformed ones give one clear line."""

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_heads.data.errors import DataError
from tadp_heads.data.readers.depth_folder import DepthFolder
from tadp_heads.data.readers.nyuv2 import NYUv2, room_type
from tadp_heads.depth import read_depth, write_depth_npy, write_depth_png


def write_image(path, size=(8, 6), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (value, 20, 30)).save(path)


@pytest.fixture
def folder(tmp_path):
    """Three images of 8x6 with depth, the third as .npy."""
    (tmp_path / "depth").mkdir()
    for index, name in enumerate(("a", "b", "c")):
        write_image(tmp_path / "images" / f"{name}.jpg")
        depth = torch.full((6, 8), 1.5 + index)
        depth[0, 0] = 0
        write = write_depth_npy if name == "c" else write_depth_png
        write(tmp_path / "depth" / f"{name}.{'npy' if name == 'c' else 'png'}", depth)
    (tmp_path / "val.txt").write_text("b\nc\n")
    return tmp_path


def test_depth_survives_both_formats(tmp_path):
    depth = torch.rand(17, 23, generator=torch.Generator().manual_seed(0)) * 60
    depth[3, 4] = 0
    write_depth_png(tmp_path / "d.png", depth)
    write_depth_npy(tmp_path / "d.npy", depth[None])
    png, npy = read_depth(tmp_path / "d.png"), read_depth(tmp_path / "d.npy")
    assert png.dtype == npy.dtype == torch.float32
    assert (png - depth).abs().max() <= 0.0005001
    assert png[3, 4] == 0
    assert torch.equal(npy, depth)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d.npy", "d.png"]


def test_the_png_holds_whole_millimetres_in_16_bits(tmp_path):
    write_depth_png(tmp_path / "d.png", torch.tensor([[0.0, 1.2344, 65.535]]))
    with Image.open(tmp_path / "d.png") as image:
        assert image.mode == "I;16"
        assert np.array(image).tolist() == [[0, 1234, 65535]]


@pytest.mark.parametrize("values", [[70.0], [-0.01], [float("nan")]])
def test_what_a_png_cannot_hold_is_refused(tmp_path, values):
    with pytest.raises(ValueError, match=r"0 to 65\.535 m"):
        write_depth_png(tmp_path / "d.png", torch.tensor([values]))
    assert not list(tmp_path.iterdir())


def test_folder_gives_metres_by_split(folder):
    dataset = DepthFolder(folder)
    assert dataset.ids == ("a", "b", "c")
    assert DepthFolder(folder, "val").ids == ("b", "c")
    sample = DepthFolder(folder, "val")[1]
    assert sample.id == "c"
    assert sample.image.shape == (3, 6, 8)
    assert sample.target.dtype == torch.float32
    assert sample.target.shape == (6, 8)
    assert float(sample.target[1, 1]) == 3.5
    assert float(sample.target[0, 0]) == 0


def spoil_missing_depth(folder):
    (folder / "depth" / "b.png").unlink()


def spoil_eight_bits(folder):
    Image.new("L", (8, 6), 7).save(folder / "depth" / "a.png")


def spoil_colour(folder):
    Image.new("RGB", (8, 6)).save(folder / "depth" / "a.png")


def spoil_size(folder):
    write_depth_png(folder / "depth" / "a.png", torch.ones(5, 8))


def spoil_truncated(folder):
    path = folder / "depth" / "a.png"
    path.write_bytes(path.read_bytes()[:40])


def spoil_text(folder):
    (folder / "depth" / "a.png").write_text("not an image")


def spoil_both_formats(folder):
    np.save(folder / "depth" / "a.npy", np.ones((6, 8), np.float32))


def spoil_npy_shape(folder):
    np.save(folder / "depth" / "c.npy", np.ones((6, 8, 3), np.float32))


def spoil_npy_values(folder):
    np.save(folder / "depth" / "c.npy", np.full((6, 8), -1, np.float32))


def spoil_npy_pickle(folder):
    np.save(folder / "depth" / "c.npy", np.array([{"a": 1}], dtype=object))


def spoil_npy_empty(folder):
    (folder / "depth" / "c.npy").write_bytes(b"")


def spoil_npy_header(folder):
    path = folder / "depth" / "c.npy"
    path.write_bytes(path.read_bytes().replace(b"(6, 8)", b"(6, 8 "))


def spoil_header(folder):
    """A PNG whose first chunk says that it is shorter than it must be."""
    path = folder / "depth" / "a.png"
    content = bytearray(path.read_bytes())
    content[11] = 5
    path.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_npy_header, r"c\.npy: found no array"),
        (spoil_header, r"a\.png: found (a broken image|no image data)"),
        (spoil_missing_depth, r"b\.jpg: found no depth map of its name \(1 such images\), expected depth/b\.png"),
        (spoil_eight_bits, r"a\.png: found an image of mode L, expected a 16-bit grey PNG in millimetres"),
        (spoil_colour, r"a\.png: found an image of mode RGB"),
        (spoil_size, r"a\.png: found 8x5 pixels, expected 8x6 as in a\.jpg"),
        (spoil_truncated, r"a\.png: found (a broken image|no image data)"),
        (spoil_text, r"a\.png: found no image data"),
        (spoil_both_formats, r"found the same id as a\.npy"),
        (spoil_npy_shape, r"c\.npy: found an array \(6, 8, 3\) of float32"),
        (spoil_npy_values, r"c\.npy: found negative or non-finite depth"),
        (spoil_npy_pickle, r"c\.npy: found no array"),
        (spoil_npy_empty, r"c\.npy: found no array"),
    ],
)
def test_malformed_folders_give_one_line(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DataError, match=message) as caught:
        list(DepthFolder(folder))
    assert "\n" not in str(caught.value)


def test_folders_and_splits_that_are_missing_are_named(folder, tmp_path):
    with pytest.raises(DataError, match=r"test\.txt: found no such split file, expected one of the splits val"):
        DepthFolder(folder, "test")
    with pytest.raises(DataError, match="found no folder"):
        DepthFolder(tmp_path / "nowhere")


@pytest.fixture
def nyu(tmp_path):
    for scene, name in (("kitchen_0028b", "00045"), ("living_room_0019", "00111")):
        write_image(tmp_path / "sync" / scene / f"rgb_{name}.jpg")
        write_depth_png(tmp_path / "sync" / scene / f"sync_depth_{name}.png", torch.full((6, 8), 2.25))
    write_image(tmp_path / "sync" / "kitchen_0028b" / "rgb_00046.jpg")  # no depth: the raw stream has such frames
    write_image(tmp_path / "official_splits" / "test" / "bathroom" / "rgb_00045.jpg")
    write_depth_png(tmp_path / "official_splits" / "test" / "bathroom" / "sync_depth_00045.png", torch.ones(6, 8))
    return tmp_path


def test_nyu_pairs_are_found_or_listed(nyu):
    train = NYUv2(nyu, "train")
    assert train.ids == ("/kitchen_0028b/rgb_00045.jpg", "/living_room_0019/rgb_00111.jpg")
    assert float(train[0].target.mean()) == 2.25
    assert NYUv2(nyu, "test").ids == ("/bathroom/rgb_00045.jpg",)
    listing = nyu / "train_list.txt"
    listing.write_text("/living_room_0019/rgb_00111.jpg /living_room_0019/sync_depth_00111.png 518.8579\n")
    listed = NYUv2(nyu, "train", list_file=listing)
    assert [sample.id for sample in listed] == ["/living_room_0019/rgb_00111.jpg"]


def test_nyu_errors(nyu, tmp_path):
    (nyu / "bad.txt").write_text("/living_room_0019/rgb_00111.jpg\n")
    with pytest.raises(DataError, match=r"in line 1, expected an image and a depth map"):
        NYUv2(nyu, "train", list_file=nyu / "bad.txt")
    with pytest.raises(ValueError, match="unknown split 'val'"):
        NYUv2(nyu, "val")
    (tmp_path / "empty" / "sync").mkdir(parents=True)
    with pytest.raises(DataError, match="found no pair of images"):
        NYUv2(tmp_path / "empty", "train")


@pytest.mark.parametrize(
    ("scene", "room"),
    [
        ("living_room_0047b", "living room"),
        ("bathroom", "bathroom"),
        ("study_room_0005a", "study"),
        ("study_room", "study"),
        ("office_kitchen_0003", "kitchen"),
        ("office_kitchen", "kitchen"),
        ("nyu_office_0", "office"),
        ("home_office_0011", "home office"),
        ("excercise_room_0001", "excercise room"),
        ("patio_0001", "patio"),
    ],
)
def test_room_types_are_those_of_the_reference(scene, room):
    """The first of VPD's list that the scene's name contains: 813 of the 24231 and 6 of the 654 differed."""
    assert room_type(f"/{scene}/rgb_00003.jpg") == room


def test_nyu_warns_of_other_pairs_than_the_published_ones(nyu, monkeypatch, caplog):
    NYUv2(nyu, "train")
    assert "NYUv2 train has 2 image pairs (all that were found), expected 24231" in caplog.text
    assert str(nyu / "train_list.txt") in caplog.text
    caplog.clear()
    (nyu / "test_list.txt").write_text("/bathroom/rgb_00045.jpg /bathroom/sync_depth_00045.png\n")
    NYUv2(nyu, "test")
    assert "test_list.txt), expected 654" in caplog.text
    caplog.clear()
    monkeypatch.setattr("tadp_heads.data.readers.nyuv2.PUBLISHED_COUNTS", {"train": 2, "test": 1})
    assert len(NYUv2(nyu, "train")) + len(NYUv2(nyu, "test")) == 3
    assert not caplog.text
