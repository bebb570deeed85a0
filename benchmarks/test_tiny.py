"""Time of one pass of the tiny backbone and of one batch of captions; `python3 tasks.py bench` prints the table."""

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_captioning import load_captioner
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene


@pytest.fixture(scope="module")
def images():
    return [render(sample_scene(5, index), "photo").image for index in range(16)]


@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("batch", [1, 16])
def test_extraction_from_pixels(benchmark, images, batch, half):
    backbone = DiffusionBackbone.from_pretrained("tiny").freeze()
    if half:
        backbone.optimize(dtype=torch.bfloat16)
    images = torch.from_numpy(np.stack(images[:batch])).permute(0, 3, 1, 2) / 127.5 - 1
    context = backbone.encode_text(["a red circle and a tree"])
    with torch.no_grad():
        features = benchmark(lambda: backbone(images, context))
    assert len(features.levels[0]) == batch


def test_captions(benchmark, images):
    captioner = load_captioner("tiny")
    images = [Image.fromarray(image) for image in images]
    assert len(benchmark(lambda: captioner.caption(images))) == 16


def test_rendering(benchmark):
    assert benchmark(lambda: render(sample_scene(5, 0), "watercolor")).image.shape == (64, 64, 3)
