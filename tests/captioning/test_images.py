import numpy as np
import pytest
from PIL import Image

from tadp_captioning import find_images
from tadp_captioning.images import read_image


@pytest.fixture
def files(tmp_path):
    for name in ["b.jpg", "a.png", "night/c.b.png", "notes.md"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_ids_of_a_folder_are_paths_without_suffix_in_order(files):
    assert find_images(files) == {
        "a": files / "a.png",
        "b": files / "b.jpg",
        "night/c.b": files / "night" / "c.b.png",
    }


@pytest.mark.parametrize("folder", ["images", "JPEGImages"])
def test_a_data_sets_image_folder_is_found(tmp_path, folder):
    for name in [f"{folder}/x.png", "masks/x.png"]:
        (tmp_path / name).parent.mkdir()
        Image.new("L", (2, 2)).save(tmp_path / name)
    assert find_images(tmp_path) == {"x": tmp_path / folder / "x.png"}


def test_equal_names_keep_their_suffix(files):
    (files / "a.jpg").touch()
    assert list(find_images(files)) == ["a.jpg", "a.png", "b", "night/c.b"]


def test_lists_globs_and_single_files(files):
    (files / "list.txt").write_text("night/c.b.png\n\na.png\n")
    assert list(find_images(files / "list.txt")) == ["a", "night/c.b"]
    assert list(find_images(f"{files}/*.*g")) == ["a", "b"]
    assert list(find_images(f"{files}/**/*.png")) == ["a", "night/c.b"]
    assert list(find_images(files / "b.jpg")) == ["b"]


def test_several_files_have_ids_below_their_common_folder(files):
    assert list(find_images([files / "night" / "c.b.png", str(files / "a.png")])) == ["a", "night/c.b"]
    with pytest.raises(ValueError, match=r"no\.png: found no such file; of several, each must be an image file"):
        find_images([files / "a.png", files / "no.png"])


@pytest.mark.parametrize("data", ["no/such/folder", "*.nothing"])
def test_no_images_is_one_clear_line(files, data):
    with pytest.raises(ValueError, match="no images in"):
        find_images(files / data)


def test_a_list_names_the_line_whose_file_is_not_there(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")
    (tmp_path / "list.txt").write_text("a.png\n\nhello\n")
    with pytest.raises(ValueError, match=r"list\.txt, line 3: there is no file '.*hello'"):
        find_images(tmp_path / "list.txt")


def test_images_are_read_upright_and_16_bits_are_scaled(tmp_path):
    turned = Image.new("RGB", (6, 4), "red")
    exif = turned.getexif()
    exif[0x0112] = 6  # turned by a quarter
    turned.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image("turned", tmp_path / "turned.jpg").image.size == (4, 6)

    Image.fromarray(np.full((2, 2), 257 * 100, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert read_image("deep", tmp_path / "deep.png").image.getpixel((0, 0)) == (100, 100, 100)
