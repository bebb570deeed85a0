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


DAMAGED_EXIF = [b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x01\x01\x12\xff\xff", b"Exif\x00\x00no header"]


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("block", DAMAGED_EXIF)
def test_a_damaged_exif_block_costs_no_image(tmp_path, block):
    Image.new("RGB", (6, 4), "red").save(tmp_path / "a.jpg", exif=block)
    assert read_image("a", tmp_path / "a.jpg").image.size == (6, 4)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        (np.float32([[0, 0.5, 1.0]]), [0, 128, 255]),
        (np.int32([[0, 128, 255]]), [0, 128, 255]),
        (np.int32([[0, 257 * 100, 65535]]), [0, 100, 255]),
        (np.float32([[0, 300.0]]), None),
        (np.int32([[-5, 300]]), None),
    ],
)
def test_values_of_more_than_8_bits_are_scaled_by_their_type_and_range(tmp_path, values, shown):
    Image.fromarray(values).save(tmp_path / "a.tiff")
    read = read_image("a", tmp_path / "a.tiff")
    if shown is None:
        assert "convert it to 8 bits" in read.error
    else:
        assert [read.image.getpixel((x, 0))[0] for x in range(3)] == shown


def touch(root, *names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_hidden_files_and_folders_are_no_images(tmp_path):
    touch(tmp_path, "a.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png", "__MACOSX/a.png", "b/.c/d.png")
    (tmp_path / "old.jpg").mkdir()
    assert list(find_images(tmp_path)) == ["a"]


def test_what_looks_like_an_image_and_is_left_out_is_named(tmp_path, caplog):
    touch(tmp_path, "p/a.jfif", "p/b.JPE", "p/c.avif", "p/d.heic", "elsewhere/e.png", "q/images/f.png", "q/g.png")
    (tmp_path / "p" / "more").symlink_to(tmp_path / "elsewhere")
    assert list(find_images(tmp_path / "p")) == ["a", "b", "c"]
    assert "2 left out" in caplog.text
    assert "d.heic (convert it" in caplog.text
    assert "more (a link to a folder" in caplog.text
    assert list(find_images(tmp_path / "q")) == ["f"]
    assert "g.png (only images/ is read)" in caplog.text


@pytest.mark.parametrize("name", ["list.txt", "LIST.TXT"])
def test_a_list_of_paths_from_anywhere_has_ids_that_stay_below_a_folder(tmp_path, monkeypatch, name):
    touch(tmp_path, "lists/in.png", "other/q.png", "other/r.png")
    listed = tmp_path / "lists" / name
    listed.write_bytes((f"../other/q.png\n{tmp_path}/other/r.png\n" * 5000).encode("utf-8-sig"))
    assert list(find_images(listed)) == ["q", "r"]
    listed.write_text("in.png\n../other/q.png\n")
    assert list(find_images(listed)) == ["lists/in", "other/q"]
    monkeypatch.chdir(tmp_path)
    assert list(find_images(["other/q.png", str(tmp_path / "other" / "r.png")])) == ["q", "r"]
    assert list(find_images("other/../other/*.png")) == ["q", "r"]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    touch(tmp_path, "d/a.png")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert list(find_images("~/d")) == list(find_images("~/d/*.png")) == list(find_images(["~/d/a.png"])) == ["a"]
