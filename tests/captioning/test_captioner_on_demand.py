"""A captioner is loaded when an image has to be captioned, and once."""

import pytest
from PIL import Image

from tadp_captioning import CaptionStore, caption_images, captioner_on_demand, factory, load_captioner


@pytest.fixture
def loads(monkeypatch):
    """The calls of `load_captioner`."""
    calls = []

    def load(*arguments, **settings):
        calls.append(arguments)
        return load_captioner(*arguments, **settings)

    monkeypatch.setattr(factory, "load_captioner", load)
    return calls


@pytest.fixture
def images(tmp_path):
    files = {f"{number}": tmp_path / f"{number}.png" for number in range(2)}
    for shade, file in enumerate(files.values()):
        Image.new("RGB", (8, 8), (200 * shade, 0, 0)).save(file)
    return files


def test_nothing_is_loaded_where_all_images_have_captions(images, loads):
    store = CaptionStore()
    settings = {"min_new_tokens": 2, "max_new_tokens": 5}
    first = captioner_on_demand("tiny", **settings)
    for image_id, file in images.items():  # two data sets
        assert caption_images(first, {image_id: file}, store).captioned == 1
    assert len(loads) == 1
    again = captioner_on_demand("tiny", **settings)
    assert caption_images(again, images, store).skipped == 2
    assert len(loads) == 1
    others = captioner_on_demand("tiny", max_new_tokens=4)
    assert caption_images(others, images, store).captioned == 2
    assert len(loads) == 2


def test_it_answers_as_the_loaded_one(images):
    loaded, on_demand = load_captioner("tiny", max_new_tokens=5), captioner_on_demand("tiny", max_new_tokens=5)
    assert (on_demand.name, on_demand.params) == (loaded.name, loaded.params)
    shown = [Image.open(file) for file in images.values()]
    assert on_demand.caption(shown) == loaded.caption(shown)
    assert on_demand.batch_size == loaded.batch_size


def test_what_cannot_be_loaded_is_said_before_the_first_image(tmp_path):
    with pytest.raises(ValueError, match="unknown captioner 'tinny'"):
        captioner_on_demand("tinny")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="bert"):
        captioner_on_demand(tmp_path)
