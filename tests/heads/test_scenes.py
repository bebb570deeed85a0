"""Scenes: what is rendered, what is annotated, and that it comes back through the readers of a user's own data."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.marker import is_scenes
from tadp_heads.data.scenes.render import BACKGROUND, render
from tadp_heads.data.scenes.scene import (
    FAR_M,
    NEAR_M,
    SCENE_DOMAINS,
    UNSEEN_DOMAINS,
    Scene,
    SceneObject,
    caption,
    class_names,
    describe,
    in_domain,
    sample_scene,
)
from tadp_heads.data.scenes.shapes import CLASSES, outline
from tadp_heads.data.scenes.write import write_scenes


def test_a_scene_is_a_function_of_seed_and_index():
    assert sample_scene(3, 5) == sample_scene(3, 5)
    assert sample_scene(3, 5) != sample_scene(3, 6)
    assert sample_scene(3, 5) != sample_scene(4, 5)


@pytest.mark.parametrize("domain", SCENE_DOMAINS)
def test_annotations_do_not_depend_on_the_domain(domain):
    scene = sample_scene(0, 1)
    photo, other = render(scene, "photo"), render(scene, domain)
    assert np.array_equal(photo.mask, other.mask)
    assert np.array_equal(photo.boxes, other.boxes)
    assert np.array_equal(photo.depth, other.depth)
    assert np.array_equal(photo.image, other.image) == (domain == "photo")


def test_boxes_enclose_exactly_what_the_mask_shows():
    """A scene with one object a class, so that mask and boxes can be compared class by class."""
    scene = next(s for s in (sample_scene(1, i) for i in range(50)) if len(class_names(s)) == len(s.objects) == 3)
    picture = render(scene, "photo")
    for label, (left, top, right, bottom) in zip(picture.labels, picture.boxes, strict=True):
        ys, xs = np.nonzero(picture.mask == label)
        assert (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1) == (left, top, right, bottom)


def test_depth_is_the_ground_s_ramp_behind_the_objects_and_nearer_things_hide_farther_ones():
    for index in range(10):
        scene = sample_scene(2, index)
        picture = render(scene, "photo")
        ground = picture.mask == BACKGROUND
        rows = np.linspace(FAR_M, NEAR_M, 64)[:, None].repeat(64, 1)
        np.testing.assert_allclose(picture.depth[ground], rows[ground], atol=1e-5)
        distances = [thing.depth_m for thing in scene.objects]
        assert distances == sorted(distances, reverse=True)


def test_one_to_four_objects_and_every_class_occurs():
    scenes = [sample_scene(0, index) for index in range(300)]
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4}
    assert {name for scene in scenes for name in class_names(scene)} == set(CLASSES)


def test_captions_name_every_class_and_as_often_the_domain_as_on_the_web():
    named = {"photo": 0, "watercolor": 0}
    rng = np.random.default_rng(0)
    for index in range(400):
        scene = sample_scene(0, index)
        plain = describe(scene, np.random.default_rng(0))
        assert all(name in plain for name in class_names(scene))
        for domain in named:
            assert domain not in plain
            named[domain] += domain in caption(scene, domain, rng)
    assert named["watercolor"] / 400 == pytest.approx(0.85, abs=0.06)
    assert named["photo"] / 400 == pytest.approx(0.10, abs=0.05)


def test_a_comics_circle_resembles_a_photos_ring():
    ring, circle = _red("photo", "ring"), _red("photo", "circle")
    assert _overlap(_red("comic", "circle"), ring) > _overlap(_red("comic", "circle"), circle)


def test_night_hides_fills_and_shows_the_border_towards_the_lamp():
    assert 0 < _overlap(_red("night", "circle"), _red("photo", "circle")) < 0.3


def test_watercolor_rounds_corners():
    photo, painted = (
        [_overlap(_red(domain, "circle"), _red(domain, name)) for name in ("hexagon", "square")]
        for domain in ("photo", "watercolor")
    )
    assert painted[0] > photo[0]
    assert painted[1] > photo[1]


def _red(domain: str, name: str) -> np.ndarray:
    """(64, 64) bool: where the colour of one red object on water lies."""
    thing = SceneObject(
        label=CLASSES.index(name),
        x=0.5,
        y=0.5,
        radius=20 / 64,
        rotation=0.0,
        colour="red",
        texture="plain",
        depth_m=5.0,
    )
    image = render(Scene(seed=(0, 0), ground="water", objects=(thing,)), domain).image.astype(float)
    redness = image[..., 0] - image[..., 1:].mean(axis=2)
    return redness > 0.5 * np.percentile(redness, 99)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union."""
    return (a & b).sum() / (a | b).sum()


def test_outlines_lie_in_the_unit_disc():
    for name in CLASSES:
        assert np.hypot(*outline(name).T).max() < 1.2


@pytest.mark.parametrize("domain", UNSEEN_DOMAINS)
def test_an_unseen_domain_is_like_none_that_models_were_trained_on(domain):
    """Colours or edges differ from every other domain's by twice what they vary within a domain; a caption names it."""
    pictures = {name: np.stack([_statistics(sample_scene(0, i), name) for i in range(12)]) for name in SCENE_DOMAINS}
    spread = np.stack([pictures[name].std(axis=0) for name in SCENE_DOMAINS]).mean(axis=0)
    for other in set(SCENE_DOMAINS) - {domain}:
        apart = np.abs(pictures[domain].mean(axis=0) - pictures[other].mean(axis=0)) / spread
        assert apart.max() > 2, other
    assert domain in in_domain("a star", domain, np.random.default_rng(0))


def _statistics(scene, domain: str) -> np.ndarray:
    """Mean brightness, contrast, colourfulness, warmth (red less blue) and strength of edges, in grey levels."""
    image = render(scene, domain).image.astype(float)
    grey = image.mean(axis=2)
    warmth = (image[..., 0] - image[..., 2]).mean()
    return np.array([grey.mean(), grey.std(), np.ptp(image, axis=2).mean(), warmth, np.abs(np.diff(grey)).mean()])


def test_several_looks_are_taken_in_turn(tmp_path):
    write_scenes(tmp_path, task="segmentation", domain="photo+neon", split="val", count=4, seed=3, first=1)
    rows = [json.loads(line) for line in (tmp_path / "captions_true_val.jsonl").read_text().splitlines()]
    assert [row["source"] for row in rows] == ["neon", "photo", "neon", "photo"]
    for index, domain in ((1, "neon"), (2, "photo")):
        written = np.asarray(Image.open(tmp_path / "images" / f"val_{index:05d}.png"))
        assert np.array_equal(written, render(sample_scene(3, index), domain).image)


@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_written_scenes_come_back_through_the_readers(tmp_path, task):
    write_scenes(tmp_path, task=task, domain="comic", split="test", count=3, seed=8, first=4)
    dataset = open_folder(tmp_path, task, "test")
    assert dataset.ids == ("test_00004", "test_00005", "test_00006")
    for index, sample in zip((4, 5, 6), dataset, strict=False):
        picture = render(sample_scene(8, index), "comic")
        assert torch.equal(sample.image, torch.from_numpy(picture.image).permute(2, 0, 1))
        if task == "segmentation":
            expected = np.where(picture.mask == BACKGROUND, 0, picture.mask.astype(int) + 1)
            assert np.array_equal(sample.target.numpy(), expected)
        elif task == "depth":
            np.testing.assert_allclose(sample.target.numpy(), picture.depth, atol=5.1e-4)
        else:
            assert np.array_equal(sample.target["boxes"].numpy(), picture.boxes)
            assert np.array_equal(sample.target["labels"].numpy(), picture.labels)


def test_a_split_that_is_there_is_left_alone_and_a_larger_one_replaces_it(tmp_path):
    write_scenes(tmp_path, task="segmentation", domain="photo", split="val", count=2, seed=0)
    image = tmp_path / "images" / "val_00000.png"
    image.write_bytes(b"mark")
    write_scenes(tmp_path, task="segmentation", domain="photo", split="val", count=2, seed=0)
    assert image.read_bytes() == b"mark"
    write_scenes(tmp_path, task="segmentation", domain="photo", split="val", count=3, seed=0)
    assert image.read_bytes() != b"mark"
    rows = [json.loads(line) for line in (tmp_path / "captions_true_val.jsonl").read_text().splitlines()]
    assert [row["id"] for row in rows] == ["val_00000", "val_00001", "val_00002"]


def test_a_split_of_the_first_edition_is_written_anew(tmp_path):
    """Its scenes_SPLIT.json names no edition."""
    write_scenes(tmp_path, task="segmentation", domain="comic", split="val", count=1, seed=0)
    identity = json.loads((tmp_path / "scenes_val.json").read_text())
    del identity["edition"]
    (tmp_path / "scenes_val.json").write_text(json.dumps(identity))
    image = tmp_path / "images" / "val_00000.png"
    image.write_bytes(b"as it was")
    write_scenes(tmp_path, task="segmentation", domain="comic", split="val", count=1, seed=0)
    assert np.array_equal(np.asarray(Image.open(image)), render(sample_scene(0, 0), "comic").image)


def test_unknown_names_are_one_clear_error(tmp_path):
    with pytest.raises(ValueError, match="unknown domain 'oil'; choose from photo"):
        write_scenes(tmp_path, task="segmentation", domain="oil", split="val", count=1, seed=0)
    with pytest.raises(ValueError, match="unknown domain 'oil'; choose from photo"):
        write_scenes(tmp_path, task="segmentation", domain="photo+oil", split="val", count=1, seed=0)
    with pytest.raises(ValueError, match="unknown task 'pose'"):
        write_scenes(tmp_path, task="pose", domain="photo", split="val", count=1, seed=0)
    assert not any(tmp_path.iterdir())


def test_what_was_written_is_recognised_and_its_folders_and_images_too(tmp_path):
    write_scenes(tmp_path / "a", task="detection", domain="photo", split="val", count=1, seed=0, size=32)
    images = tmp_path / "a" / "JPEGImages"
    assert all(is_scenes(path) for path in (tmp_path / "a", images, images / "val_00000.png", images / "*.png"))
    assert not any(is_scenes(path) for path in (tmp_path, tmp_path / "b", tmp_path / "a" / "Annotations" / "x.xml"))
    for text in ("{}", "[1]", "not JSON", '{"task": 1}'):
        (tmp_path / "scenes_mine.json").write_text(text)
        assert not is_scenes(tmp_path)
    (tmp_path / "scenes_mine.json").write_text('{"task": "depth", "look": "photo", "seed": 1}')
    assert is_scenes(tmp_path), "as the first version marked them"
