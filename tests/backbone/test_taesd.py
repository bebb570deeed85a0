"""An AutoencoderTiny in the VAE's place: TAESD's class, small and with random weights."""

import json
from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from torch.testing import assert_close

from tadp_backbone import BACKBONES, BackboneConfig, DiffusionBackbone, fetch
from tadp_backbone.io.hub import fetch_taesd
from tadp_backbone.latent_cache import LatentCache
from tadp_backbone.summary import describe, untrained

FACTOR = 0.18215
"""Of Stable Diffusion's VAE, and of the narrow one."""


def distilled(levels=4, channels=4):
    """Latents of 1 / 2 ** (levels - 1) of the image's size."""
    widths, blocks = (8,) * levels, (1,) * levels
    return AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
        latent_channels=channels,
    ).eval()


@pytest.fixture(scope="module")
def taesd(tmp_path_factory):
    torch.manual_seed(5)
    folder = tmp_path_factory.mktemp("taesd")
    distilled().save_pretrained(folder)
    return folder


def loaded(taesd):
    return AutoencoderTiny.from_pretrained(taesd)


@pytest.fixture
def images():
    return torch.rand(2, 3, 50, 70, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_its_latents_are_those_of_the_unet_and_unscaled_ones_are_divided_by_the_full_vae_s_factor(
    make_backbone, taesd, images
):
    padded = torch.nn.functional.pad(images, (0, 2, 0, 6))
    expected = loaded(taesd).encode(padded).latents
    backbone = make_backbone(vae=True).use_vae(loaded(taesd))
    assert_close(backbone.encode_image(images), expected)
    unscaled = make_backbone(vae=True, latent_scale=1.0).use_vae(loaded(taesd))
    assert_close(unscaled.encode_image(images), expected / FACTOR)
    halved = loaded(taesd)
    halved.register_to_config(scaling_factor=0.5)
    assert_close(make_backbone(vae=True).use_vae(halved).encode_image(images), expected / 2)


def test_features_are_the_same_from_an_object_a_folder_and_a_saved_backbone(make_backbone, taesd, images, tmp_path):
    original = make_backbone(vae=True, latent_scale=1.0)
    original.save_pretrained(tmp_path / "full")
    context = torch.randn(2, 7, 64)
    with torch.no_grad():
        wanted = make_backbone(vae=True, latent_scale=1.0).use_vae(loaded(taesd))(images, context)
        full = original(images, context)
        (tmp_path / "full" / "vae" / "diffusion_pytorch_model.safetensors").unlink()  # another takes its place
        replaced = DiffusionBackbone.from_pretrained(tmp_path / "full", vae=taesd)
        replaced.save_pretrained(tmp_path / "distilled")
        built = DiffusionBackbone(unet=original.unet, vae=loaded(taesd), config=replaced.config)
        again = DiffusionBackbone.from_pretrained(tmp_path / "distilled")
        for backbone in (original.use_vae(taesd), replaced, built, again):
            assert (backbone.vae_factor, backbone.size_multiple) == (8, 64)
            assert not any(p.requires_grad for p in backbone.vae.parameters())
            for level, expected in zip(backbone(images, context).levels, wanted.levels, strict=True):
                assert_close(level, expected)
    assert not torch.allclose(wanted.levels[0], full.levels[0], rtol=0.1)
    assert type(again.vae) is AutoencoderTiny
    assert again.vae.decoder is None
    assert again.config.vae_scaling_factor == FACTOR
    assert json.loads((tmp_path / "distilled" / "model_index.json").read_text())["vae"][1] == "AutoencoderTiny"


def test_the_full_vae_can_take_its_place_again(make_backbone, taesd, images, tmp_path):
    backbone = make_backbone(vae=True)
    full, expected = backbone.vae, backbone.encode_image(images)
    full.save_pretrained(tmp_path)
    assert_close(backbone.use_vae(taesd).use_vae(full).encode_image(images), expected)
    assert_close(backbone.use_vae(taesd).use_vae(tmp_path).encode_image(images), expected)


def test_it_takes_the_type_and_place_of_the_vae_before_it(make_backbone, taesd, images, caplog):
    backbone = make_backbone(vae=True).bfloat16().use_vae(loaded(taesd))
    assert backbone.encode_image(images).dtype == torch.bfloat16
    assert not [record for record in caplog.records if "float32" in record.message]
    done = make_backbone(vae=True).use_vae(taesd).optimize(dtype=torch.bfloat16)
    assert "weights in bfloat16" in done
    assert make_backbone(vae=True).use_vae(taesd).half().vae.dtype == torch.float16


def test_a_backbone_of_the_tiny_model_s_factor(images, tmp_path):
    tiny = DiffusionBackbone.from_pretrained("tiny")
    distilled(levels=3).half().save_pretrained(tmp_path)
    backbone = DiffusionBackbone.from_pretrained("tiny", vae=tmp_path)
    assert backbone.levels == tiny.levels
    assert backbone.config.vae_scaling_factor == tiny.vae.config.scaling_factor
    assert backbone.vae.dtype == torch.float32
    features = backbone(images, backbone.encode_text(["a ring"] * 2))
    assert [tuple(level.shape[2:]) for level in features.levels] == [(13, 18), (7, 9), (4, 5)]


def test_parts_that_do_not_fit_are_one_line(make_backbone, taesd, tmp_path):
    unet = make_backbone().unet
    full = make_backbone(vae=True)
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "config.json").write_text((taesd / "config.json").read_text())
    (tmp_path / "pickled" / "diffusion_pytorch_model.bin").write_bytes(b"")
    for act, message in (
        (lambda: full.use_vae(distilled(levels=3)), "AutoencoderTiny gives 4 channels at 1/4 of the image's size"),
        (lambda: full.use_vae(distilled(channels=16)), "AutoencoderTiny gives 16 channels at 1/8"),
        (lambda: make_backbone().use_vae(distilled(channels=16)), "latents of 16 channels, the UNet takes 4"),
        (lambda: DiffusionBackbone(unet=unet, vae=distilled(channels=16)), "latents of 16 channels, the UNet takes 4"),
        (lambda: full.use_vae(torch.nn.Conv2d(3, 4, 1)), "the VAE is a Conv2d, expected"),
        (lambda: make_backbone(vae=True, posterior="sample").use_vae(taesd), "has no posterior to sample"),
        (
            lambda: DiffusionBackbone(unet=unet, vae=distilled(), config=BackboneConfig(latent_scale=1.0)),
            "set vae_scaling_factor to the full VAE's",
        ),
        (lambda: BackboneConfig(vae_scaling_factor=0.0), "vae_scaling_factor is 0.0, expected a factor above 0"),
        (lambda: full.use_vae(tmp_path / "nowhere"), "no VAE '.*nowhere': expected a diffusers folder"),
        (lambda: full.use_vae("taesd"), "no VAE 'taesd': expected .* or where a backbone is loaded 'taesd'"),
        (lambda: full.use_vae(tmp_path / "pickled"), "no VAE '.*pickled': expected .*safetensors"),
        (lambda: fetch_taesd("someone/toy"), "'taesd' is known for tiny, sd15, sd21, .*not for 'someone/toy'"),
    ):
        with pytest.raises(ValueError, match=message) as raised:
            act()
        assert "\n" not in str(raised.value)
    assert type(full.vae) is AutoencoderKL, "as it was"
    assert full.config == BackboneConfig()


def test_latents_on_disk_are_found_by_encoder_and_factor(make_backbone, taesd, tmp_path):
    made = []

    def make(number):
        made.append(number)
        return {"image": torch.zeros(3, 16, 24)}

    def distilled_backbone(**config):
        return make_backbone(vae=True, **config).use_vae(taesd)

    other_factor = distilled_backbone(latent_scale=1.0)
    other_factor.config = replace(other_factor.config, vae_scaling_factor=0.5)
    backbones = (make_backbone(vae=True), distilled_backbone(), distilled_backbone(latent_scale=1.0), other_factor)
    for backbone in backbones:
        cache = LatentCache(tmp_path, backbone)
        for _ in range(2):
            assert_close(cache.crop("a", make)["latents"], backbone.encode_image(torch.zeros(1, 3, 16, 24))[0])
    assert len(made) == len(backbones)


def test_it_is_described_without_warnings(make_backbone, taesd, caplog):
    backbone = make_backbone(vae=True).use_vae(taesd)
    described = describe(backbone, 64)
    assert described.parameters["vae"] == sum(p.numel() for p in backbone.vae.encoder.parameters())
    assert described.gflops["vae"] > 0
    assert not caplog.records


@pytest.mark.slow
def test_taesd_is_described_at_full_size_without_memory():
    """TAESD's encoder as published: 1.22 M parameters; the full VAE's takes 1117 GFLOP."""
    backbone = untrained("sd15", vae="taesd", device="meta")
    described = describe(backbone)
    assert described.parameters["vae"] == 1_222_532
    assert described.gflops["vae"] == pytest.approx(122, rel=0.02)


def test_taesd_is_found_in_the_hub_s_cache(taesd, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"madebyollin/taesd: not in the cache.* `tadp fetch taesd`.*config"):
        DiffusionBackbone.from_pretrained("sd15", vae="taesd", offline=True)
    home = tmp_path / "models--madebyollin--taesd"
    snapshot = home / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text("0" * 40)
    for file in taesd.iterdir():
        (snapshot / file.name).write_bytes(file.read_bytes())
    assert fetch_taesd("sd15") == fetch_taesd("sd21", offline=True) == fetch("taesd") == snapshot


def test_an_encoder_that_the_installation_lacks_is_one_line(tmp_path, monkeypatch):
    entry = replace(BACKBONES["tiny"], taesd_folder=tmp_path / "tiny_encoder")
    monkeypatch.setitem(BACKBONES, "tiny", entry)
    with pytest.raises(FileNotFoundError, match="weights of 'taesd for tiny' are missing from this installation"):
        DiffusionBackbone.from_pretrained("tiny", vae="taesd")
    distilled(levels=3).save_pretrained(entry.taesd_folder)
    assert type(DiffusionBackbone.from_pretrained("tiny", vae="taesd").vae) is AutoencoderTiny
