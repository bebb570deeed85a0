"""Photographs as they come: rotated, in other colour spaces, damaged, doubled."""

import numpy as np
import pytest
from damaged import save_broken_avif
from PIL import Image, features

from tadp_personalize import read_images

RED, BLUE = (220, 30, 30), (20, 40, 200)


def two_halves(left=RED, right=BLUE) -> Image.Image:
    """24 wide, 16 high."""
    image = Image.new("RGB", (24, 16), right)
    image.paste(left, (0, 0, 12, 16))
    return image


@pytest.fixture
def read_one(make_pictures):
    def read(path):
        images, report = read_images([path, *make_pictures(2, seed=5)], size=16)
        return images[0], report

    return read


def test_rotated_by_exif_is_turned_upright(tmp_path, read_one):
    image = two_halves()
    exif = image.getexif()
    exif[0x0112] = 6  # the camera lay on its side: turn clockwise to view
    image.save(tmp_path / "r.png", exif=exif)
    upright, report = read_one(tmp_path / "r.png")
    assert upright.size == (16, 24)
    assert upright.getpixel((8, 2)) == RED  # left became top
    assert "upright" in report.notes["r.png"]


def test_cmyk(tmp_path, read_one):
    Image.new("CMYK", (20, 20), (0, 255, 255, 0)).save(tmp_path / "c.tif")
    assert read_one(tmp_path / "c.tif")[0].getpixel((3, 3)) == (255, 0, 0)


def test_16_bit_keeps_its_greys(tmp_path, read_one):
    ramp = np.tile(np.linspace(0, 65535, 32).astype(np.uint16), (20, 1))
    Image.fromarray(ramp).save(tmp_path / "d.png")
    image, _ = read_one(tmp_path / "d.png")
    assert image.mode == "RGB"
    np.testing.assert_allclose(np.asarray(image)[5, :, 1], np.linspace(0, 255, 32), atol=1)


def test_animation_gives_its_first_frame(tmp_path, read_one):
    frames = [Image.new("RGB", (20, 20), colour) for colour in (RED, BLUE)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    image, report = read_one(tmp_path / "a.gif")
    np.testing.assert_allclose(image.getpixel((4, 4)), RED, atol=6)
    assert "2 frames" in report.notes["a.gif"]


def test_transparency_is_laid_on_white(tmp_path, read_one):
    Image.new("RGBA", (20, 20), (*RED, 0)).save(tmp_path / "t.png")
    assert read_one(tmp_path / "t.png")[0].getpixel((0, 0)) == (255, 255, 255)


def test_unusable_ones_are_named_and_the_rest_is_used(tmp_path, make_pictures):
    good = make_pictures(3)
    for i, image in enumerate(good):
        image.save(tmp_path / f"{i}.png")
    good[0].save(tmp_path / "again.webp", lossless=True)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    (tmp_path / "phone.heic").write_bytes(b"not readable here")
    Image.new("RGB", (3, 50)).save(tmp_path / "sliver.png")
    (tmp_path / "notes.txt").write_text("not looked at")
    images, report = read_images(tmp_path, size=16)
    assert report.used == ("0.png", "1.png", "2.png")
    assert len(images) == 3
    assert set(report.skipped) == {"broken.jpg", "phone.heic", "sliver.png"}
    assert report.duplicates == {"again.webp": "0.png"}
    assert report.as_dict()["count"] == 3


@pytest.mark.skipif(not features.check("avif"), reason="Pillow without AVIF")
def test_a_decoder_that_fails_in_its_own_way_skips_the_image(tmp_path, make_pictures):
    """Pillow's AVIF decoder raises RuntimeError."""
    save_broken_avif(tmp_path / "a.avif")
    _, report = read_images([tmp_path / "a.avif", *make_pictures(3)], size=16)
    assert report.skipped["a.avif"].startswith("cannot be read (")


def test_too_few_says_what_became_of_each(tmp_path, make_pictures):
    picture = make_pictures(1)[0]
    picture.save(tmp_path / "one.png")
    (tmp_path / "two.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 usable images, at least 3 .*two\.png.*image 3: same as one\.png"):
        read_images([tmp_path / "one.png", tmp_path / "two.png", picture], size=16)


def test_what_is_trained_on_cannot_be_held_out(make_pictures):
    pictures = make_pictures(4)
    unseen, report = read_images(pictures[2:], size=16, least=1, known=pictures[:3])
    assert len(unseen) == 1
    assert list(report.duplicates) == ["image 1"]


@pytest.mark.parametrize("images", ["no-such-folder", ["no-such-file.png"]])
def test_missing_is_an_error(images):
    with pytest.raises(ValueError, match="no-such"):
        read_images(images, size=16)


def test_hash_follows_the_pixels_alone(tmp_path, make_pictures):
    pictures = make_pictures(3)
    for i, image in enumerate(pictures):
        image.save(tmp_path / f"{i}.png")
    assert read_images(pictures, size=16)[1].sha256 == read_images(tmp_path, size=16)[1].sha256
    assert read_images(pictures, size=16)[1].sha256 != read_images(make_pictures(3, seed=1), size=16)[1].sha256


def test_cmyk_jpeg(tmp_path, read_one):
    """Photographs for print; Adobe's files hold the colours inverted, which is Pillow's affair."""
    Image.new("CMYK", (24, 24), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=95)
    image, report = read_one(tmp_path / "print.jpg")
    np.testing.assert_allclose(image.getpixel((3, 3)), (255, 0, 0), atol=8)
    assert "CMYK" in report.notes["print.jpg"]


def test_big_endian_16_bit_tiff(tmp_path, read_one):
    ramp = np.tile(np.linspace(0, 65535, 32).astype(">u2"), (20, 1))
    Image.frombytes("I;16B", (32, 20), ramp.tobytes()).save(tmp_path / "b.tif")
    np.testing.assert_allclose(np.asarray(read_one(tmp_path / "b.tif")[0])[5, :, 1], np.linspace(0, 255, 32), atol=1)


def test_heic_is_read_where_a_decoder_is_installed(tmp_path, read_one):
    pillow_heif = pytest.importorskip("pillow_heif")
    pillow_heif.from_pillow(Image.new("RGB", (64, 64), RED)).save(tmp_path / "phone.heic", quality=95)
    np.testing.assert_allclose(read_one(tmp_path / "phone.heic")[0].getpixel((30, 30)), RED, atol=8)


def test_folders_within_the_folder_count_and_names_tell_them_apart(tmp_path, make_pictures):
    for i, image in enumerate(make_pictures(3)):
        (tmp_path / f"day{i}").mkdir()
        image.save(tmp_path / f"day{i}" / "same.png")
    assert read_images(tmp_path, size=16)[1].used == ("day0/same.png", "day1/same.png", "day2/same.png")
