"""`LatentCache`: crops are encoded once."""

import pytest
import torch
from torch.testing import assert_close

from tadp_backbone.latent_cache import LatentCache
from tadp_backbone.text.cache import kept


def maker(calls):
    """Crops that differ by number, with a mask; notes what was asked for."""

    def make(number):
        calls.append(number)
        return {"image": torch.full((3, 16, 24), number / 10), "mask": torch.full((16, 24), number, dtype=torch.uint8)}

    return make


def test_a_crop_is_encoded_once_and_found_again(make_backbone, tmp_path):
    calls, backbone = [], make_backbone(vae=True)
    first = LatentCache(tmp_path, backbone).crop("a", maker(calls))
    again = LatentCache(tmp_path, backbone).crop("a", maker(calls))
    assert calls == [0]
    assert set(first) == set(again) == {"latents", "mask"}
    assert_close(again["latents"], backbone.encode_image(torch.zeros(1, 3, 16, 24))[0])
    assert torch.equal(again["mask"], torch.zeros(16, 24, dtype=torch.uint8))
    assert not list(tmp_path.glob("*.writing"))


@pytest.mark.parametrize(
    "device", ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU"))]
)
def test_what_was_just_computed_is_as_what_is_read(tmp_path, device):
    value = torch.arange(6.0, device=device, requires_grad=True)
    first, again = (kept(tmp_path / "entry.safetensors", lambda: {"a": value.view(2, 3).T}) for _ in range(2))
    assert torch.equal(first["a"], again["a"])
    for name in ("device", "requires_grad"):
        assert getattr(first["a"], name) == getattr(again["a"], name), name
    assert first["a"].stride() == again["a"].stride()


def test_a_pool_is_drawn_from_and_each_crop_keeps_its_target(make_backbone, tmp_path):
    calls, backbone = [], make_backbone(vae=True)
    cache, generator = LatentCache(tmp_path, backbone, crops=3), torch.Generator().manual_seed(0)
    seen = [cache.crop("a", maker(calls), generator=generator) for _ in range(30)]
    assert sorted(calls) == [0, 1, 2]
    for crop in seen:
        number = int(crop["mask"][0, 0])
        expected = backbone.encode_image(torch.full((1, 3, 16, 24), number / 10))[0]
        assert_close(crop["latents"], expected)


def test_fill_encodes_all_at_once(make_backbone, tmp_path):
    calls, later, backbone = [], [], make_backbone(vae=True)
    cache = LatentCache(tmp_path, backbone, crops=2)
    cache.fill(["a", "b"], lambda key, number: maker(calls)(number))
    cache.crop("b", maker(later))
    assert calls == [0, 1, 0, 1]
    assert later == []


def test_other_weights_settings_or_augmentations_are_other_entries(make_backbone, tmp_path):
    calls = []
    for arguments in ({}, {"seed": 1}, {"latent_scale": 1.0}, {"posterior": "sample"}):
        LatentCache(tmp_path, make_backbone(vae=True, **arguments)).crop("a", maker(calls))
    LatentCache(tmp_path, make_backbone(vae=True), augmentation="mirrored").crop("a", maker(calls))
    LatentCache(tmp_path, make_backbone(vae=True)).crop("b", maker(calls))
    scaled = make_backbone(vae=True)
    scaled.vae.register_to_config(scaling_factor=0.5)
    LatentCache(tmp_path, scaled).crop("a", maker(calls))
    assert len(calls) == 7


def test_wrong_use_is_named(make_backbone, tmp_path):
    with pytest.raises(ValueError, match="this backbone has no VAE"):
        LatentCache(tmp_path, make_backbone())
    with pytest.raises(ValueError, match="crops is 0, expected at least 1 per image"):
        LatentCache(tmp_path, make_backbone(vae=True), crops=0)
