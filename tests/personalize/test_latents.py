import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from tadp_personalize.training.latents import ImageLatents
from tadp_personalize.training.sampler import Batches, Source, image_order


@pytest.fixture
def make_latents(pipe, make_pictures):
    def make(**settings):
        settings = {"size": 16, "flip": 0.5, "crop": "center", "cache": False} | settings
        return ImageLatents(make_pictures(3), pipe.vae, **settings)

    return make


def test_kept_posteriors_give_the_same_draws_as_encoding_anew(make_latents):
    once, anew = make_latents(cache=True), make_latents()
    for seed in range(3):
        drawn = [source.draw([0, 2, 1, 1], torch.Generator().manual_seed(seed)) for source in (once, anew)]
        torch.testing.assert_close(*drawn)


def test_latents_are_the_vae_s_own_of_the_resized_centre_crop(pipe, make_latents, make_pictures):
    image = make_pictures(1)[0]  # 24 x 20 -> 19 x 16 -> columns 2 to 18
    resized = image.resize((19, 16), Image.Resampling.BICUBIC)
    pixels = torch.tensor(np.asarray(resized)[:, 2:18] / 127.5 - 1, dtype=torch.float32).permute(2, 0, 1)
    with torch.no_grad():
        expected = pipe.vae.encode(pixels[None]).latent_dist.mode() * 0.18215
    torch.testing.assert_close(make_latents().modes()[:1], expected)


def test_flip_of_one_mirrors_always(make_latents):
    plain, mirrored = make_latents(flip=0.0), make_latents(flip=1.0)
    plain.images = [
        image.crop((0, 0, 16, 16)) for image in plain.images
    ]  # square: a mirrored crop is the crop mirrored
    mirrored.images = [ImageOps.mirror(image) for image in plain.images]
    rng = [torch.Generator().manual_seed(0) for _ in range(2)]
    torch.testing.assert_close(plain.draw([0, 1, 2], rng[0]), mirrored.draw([0, 1, 2], rng[1]))


def test_random_crops_differ_and_stay_inside(make_latents):
    latents = make_latents(crop="random", flip=0.0)
    image = latents.images[0]
    columns = np.asarray(image)
    rng = torch.Generator().manual_seed(0)
    lefts = set()
    for _ in range(30):
        crop = np.asarray(latents._cropped(image, rng))
        assert crop.shape == (16, 16, 3)
        lefts |= {x for x in range(4) if np.array_equal(crop, columns[:, x : x + 16])}
    assert lefts == {0, 1, 2, 3}


def test_a_squashed_image_is_there_as_a_whole(make_latents, make_pictures):
    """As the reference's Textual Inversion resizes: each side on its own."""
    latents, image = make_latents(crop="squash", flip=0.0), make_pictures(1)[0]
    assert latents.images[0].tobytes() == image.resize((16, 16), Image.Resampling.BICUBIC).tobytes()
    torch.testing.assert_close(latents.modes(), make_latents(crop="squash", cache=True).modes())


@pytest.mark.parametrize("size", [1, 4, 7])
def test_every_image_comes_once_in_each_round(size):
    order = [i for k in range(25) for i in image_order(5, k * size, size, 0, "images")]
    rounds = [order[k : k + 5] for k in range(0, len(order) - len(order) % 5, 5)]
    assert all(sorted(r) == [0, 1, 2, 3, 4] for r in rounds)
    assert len({tuple(r) for r in rounds}) > 1


def test_batches_are_a_function_of_seed_and_index(make_latents):
    prompts = torch.arange(6).reshape(1, 3, 2)
    sources = (
        Source(name="images", latents=make_latents(cache=True), prompts=prompts),
        Source(name="class images", latents=make_latents(cache=True), prompts=prompts, weight=0.5),
    )
    make = {"sources": sources, "batch_size": 4, "timesteps": 1000, "stratified": False}
    batches, again, other = (Batches(**make, seed=seed) for seed in (1, 1, 2))
    for earlier in (0, 1):
        assert batches[earlier].latents.shape == (8, 4, 8, 8)
    for one, two in zip(batches[5], again[5], strict=True):
        assert torch.equal(one, two)
    assert not torch.equal(batches[5].noise, other[5].noise)
    assert not torch.equal(batches[5].noise, batches[6].noise)
    assert not torch.equal(batches[5].noise[:4], batches[5].noise[4:])
    assert batches[5].weights.tolist() == pytest.approx([1 / 4] * 4 + [0.5 / 4] * 4)
