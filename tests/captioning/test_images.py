import pytest
from PIL import Image

from tadp_captioning import find_images


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
