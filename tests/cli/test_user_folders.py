"""Paths as users give them: a ~ that no shell expanded, and folders that hold earlier predictions."""

import pytest
from invoking import tadp
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.home import with_home
from tadp_cli.inputs.user_images import find_user_images, open_user_image


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("~/a", "{home}/a"),
        ("--out=~/a", "--out={home}/a"),
        ("data.folder=~", "data.folder={home}"),
        ("data.folder=cityscapes:~/cs", "data.folder=cityscapes:{home}/cs"),
        ("comic=~/images", "comic={home}/images"),
        ("~ five dogs", "~ five dogs"),
        ("http://host/~user", "http://host/~user"),
        ("a~/b", "a~/b"),
    ],
)
def test_a_tilde_that_begins_a_path_is_the_home_folder(home, given, found):
    assert with_home(given) == found.format(home=home)


def test_commands_and_recipes_write_and_read_there(home, tmp_path):
    (home / "c.jsonl").write_text('{"id": "a", "caption": "a dog"}\n')
    tadp("captions", "convert", "~/c.jsonl", "--out=~/d.jsonl")
    assert (home / "d.jsonl").is_file()
    assert not (tmp_path / "~").exists()
    (tmp_path / "r.toml").write_text('base = "scenes-segmentation"\n[data]\nfolder = "~/d"\n')
    assert load_recipe(tmp_path / "r.toml").data.folder == f"{home}/d"


def image(path, mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, (4, 4)).save(path)


def test_earlier_predictions_are_no_images_unless_their_folder_is_named(tmp_path):
    image(tmp_path / "w" / "a.png")
    image(tmp_path / "w" / "first" / "a_mask.png")
    image(tmp_path / "w" / "second" / "b" / "a_mask.png")
    for name in ("first/settings.json", "first/captions.jsonl"):
        (tmp_path / "w" / name).touch()
    found = find_user_images([str(tmp_path / "w")], leave_out=tmp_path / "w" / "second")
    assert list(found) == ["a"]
    assert list(find_user_images([str(tmp_path / "w" / "first")])) == ["a_mask"]


def test_lists_in_capitals_are_lists_beside_other_images(tmp_path):
    image(tmp_path / "a.png")
    image(tmp_path / "b.png")
    (tmp_path / "LIST.TXT").write_text("a.png\n")
    assert list(find_user_images([str(tmp_path / "LIST.TXT"), str(tmp_path / "b.png")])) == ["a", "b"]


def test_values_beyond_8_bits_name_the_file(tmp_path):
    Image.new("F", (4, 4), 300.0).save(tmp_path / "a.tiff")
    with pytest.raises(ValueError, match=r"a\.tiff: values from 300 to 300 in an image of mode F"):
        open_user_image(tmp_path / "a.tiff")
