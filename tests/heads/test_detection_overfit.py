"""From files on disk to metrics: the detection head learns four real scenes on top of a fixed random pyramid."""

import pytest
import torch
from torch import nn

from tadp_heads.data.readers.voc_detection import VOCDetection
from tadp_heads.data.scenes.shapes import CLASSES
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.detection import AveragePrecision, DetectionTask

LEVELS = ((48, 4), (48, 8), (64, 16))


def random_pyramid(seed=0):
    """Features of fixed random filters at strides 4, 8 and 16, each level seeing more than its own cell."""
    torch.manual_seed(seed)
    stem = nn.Sequential(nn.Conv2d(3, 48, 3, 2, 1), nn.ReLU(), nn.Conv2d(48, 48, 3, 2, 1), nn.ReLU())
    down = [nn.Sequential(nn.Conv2d(48, channels, 3, 2, 1), nn.ReLU()) for channels in (48, 64)]
    for module in (stem, *down):
        for layer in module:
            if isinstance(layer, nn.Conv2d):  # keeps the signal's scale from level to level
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")

    @torch.no_grad()
    def extract(images):
        levels = [stem(images)]
        for layer in down:
            levels.append(layer(levels[-1]))
        return levels

    return extract


@pytest.mark.slow
def test_four_scenes_are_overfitted(tmp_path):
    write_scenes(tmp_path, task="detection", domain="photo", split="all", count=4, seed=3)
    samples = list(VOCDetection(tmp_path, classes=CLASSES))
    images = torch.stack([sample.image.float() / 127.5 - 1 for sample in samples])
    targets = [sample.target for sample in samples]
    task, extract = DetectionTask(), random_pyramid()
    torch.manual_seed(0)
    head = task.build_head(LEVELS, CLASSES, fpn_channels=32, representation_size=64)
    optimizer = torch.optim.AdamW(head.parameters(), lr=3e-3)
    features = extract(images)
    for step in range(150):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - step / 150)
        optimizer.zero_grad()
        task.loss(head, features, targets).backward()
        optimizer.step()
    metric = AveragePrecision(CLASSES)
    for detections, target in zip(task.predict(head.eval(), extract, images, "coco"), targets, strict=True):
        metric.update(detections, target)
    assert metric.compute()["AP50"] > 0.9
