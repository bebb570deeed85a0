"""The table at full width without memory, the package's import, its README."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tadp_backbone import BACKBONES, DiffusionBackbone
from tadp_backbone.inputs import has_pooled_row
from tadp_backbone.summary import describe, untrained

FULL_SIZE = [name for name, entry in BACKBONES.items() if entry.folder is None]


def assert_levels_are_real(backbone, entry, device):
    config = backbone.unet.config
    side = 2 * backbone.size_multiple // backbone.vae_factor
    latents = torch.zeros(1, config.in_channels, side, side, device=device)
    rows = backbone.config.num_tokens + has_pooled_row(backbone.unet)
    context = torch.zeros(1, rows, config.cross_attention_dim, device=device)
    with torch.no_grad():
        features = backbone.extract(latents, context)
    declared = [(level.channels, level.stride) for level in backbone.levels]
    real = [(level.shape[1], side * backbone.vae_factor // level.shape[2]) for level in features.levels]
    tokens = dict.fromkeys(entry.config.map_strides, backbone.config.num_tokens)
    assert real == declared == [(channels + tokens.get(stride, 0), stride) for channels, stride in entry.levels]


@pytest.mark.parametrize(
    "name", [name if name == "sd15" else pytest.param(name, marks=pytest.mark.slow) for name in FULL_SIZE]
)
def test_levels_of_the_table_are_what_the_unet_gives(name):
    assert_levels_are_real(untrained(name, device="meta"), BACKBONES[name], "meta")


def test_levels_of_tiny_are_what_its_unet_gives():
    assert_levels_are_real(DiffusionBackbone.from_pretrained("tiny"), BACKBONES["tiny"], "cpu")


def test_description_of_stable_diffusion():
    """As known of SD 1.5: 859.5 M in the UNet, 123.1 M in CLIP's text part; 803 GFLOP at 512x512, 1117 the VAE's."""
    description = describe(untrained("sd15", device="meta"))
    assert description.parameters["unet"] == 859_520_964
    assert description.parameters["text_encoder"] == 123_060_480
    assert description.parameters["vae"] == 34_163_664  # without the decoder
    assert description.gflops["unet"] == pytest.approx(803, rel=0.02)
    assert description.gflops["vae"] == pytest.approx(1117, rel=0.02)
    assert [maps for _, _, maps in description.rows] == [0, 5, 5, 0]
    assert "up_blocks.0.resnets.1" in str(description)


@pytest.mark.slow
def test_stable_diffusion_at_full_size_runs_here():
    backbone = untrained("sd15").freeze()
    features = backbone(torch.rand(1, 3, 256, 256) * 2 - 1, torch.randn(1, 77, 768))
    assert [tuple(level.shape) for level in features.levels] == [
        (1, 320, 32, 32), (1, 640 + 77, 16, 16), (1, 1280 + 77, 8, 8), (1, 1280, 4, 4),
    ]  # fmt: skip


def test_importing_is_free():
    code = "import tadp_backbone, sys; print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_readme_example_runs(repository: Path, capsys):
    readme = (repository / "packages" / "backbone" / "README.md").read_text()
    example = re.search(r"```python\n(.*?)```", readme, re.DOTALL).group(1)
    exec(compile(example, "README.md", "exec"), {})
    assert "Level(channels=" in capsys.readouterr().out
