"""From files on disk to metrics: the depth head learns four real scenes on top of a fixed random pyramid."""

import numpy as np
import torch
from PIL import Image
from torch import nn

from tadp_heads.data.readers.depth_folder import DepthFolder
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.depth import DepthMetrics, DepthTask, write_depth_png

LEVELS = ((48, 4), (48, 8), (64, 16))


def random_pyramid(seed=0):
    """Features of fixed random filters at strides 4, 8 and 16."""
    torch.manual_seed(seed)
    filters = [nn.Conv2d(3, channels, stride, stride).requires_grad_(False) for channels, stride in LEVELS]
    return lambda images: [torch.relu(layer(images)) for layer in filters]


def write_scenes(root, count):
    (root / "images").mkdir()
    (root / "depth").mkdir()
    for index in range(count):
        scene = render(sample_scene(3, index), "photo")
        Image.fromarray(scene.image).save(root / "images" / f"{index}.png")
        write_depth_png(root / "depth" / f"{index}.png", torch.from_numpy(scene.depth.astype(np.float32)))


def test_two_scenes_are_learned_by_heart(tmp_path):
    write_scenes(tmp_path, 2)
    samples = list(DepthFolder(tmp_path))
    images = torch.stack([sample.image.float() / 127.5 - 1 for sample in samples])
    targets = [sample.target for sample in samples]
    task, extract = DepthTask(), random_pyramid()
    torch.manual_seed(0)
    head = task.build_head(LEVELS, [], fusion_channels=128, deconv_channels=(32, 32, 32), head_channels=32)
    optimizer = torch.optim.AdamW(head.parameters(), lr=4e-3)
    features = extract(images)
    for step in range(160):
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 - step / 160)
        optimizer.zero_grad()
        task.loss(head, features, targets).backward()
        optimizer.step()
    metrics = DepthMetrics("full")
    for depth, target in zip(task.predict(head.eval(), extract, images, "full"), targets, strict=True):
        metrics.update(depth, target)
    metrics = metrics.compute()
    assert metrics["rmse"] < 0.05 * 10  # 5 % of the range, metres
    assert metrics["d1"] > 0.95
