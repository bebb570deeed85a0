"""From files on disk to a score: the detection head learns four real scenes on top of a fixed random pyramid."""

import torch
from PIL import Image
from torch import nn

from tadp_heads.data.scenes import sample_scene
from tadp_heads.data.scenes_render import render
from tadp_heads.data.scenes_shapes import CLASSES
from tadp_heads.data.voc import VOCDetection
from tadp_heads.detection import AveragePrecision, DetectionTask

LEVELS = ((48, 4), (48, 8), (64, 16))
OBJECT = (
    "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax>"
    "<ymax>{}</ymax></bndbox></object>"
)


def random_pyramid(seed=0):
    """Features of fixed random filters at strides 4, 8 and 16."""
    torch.manual_seed(seed)
    filters = [nn.Conv2d(3, channels, stride, stride).requires_grad_(False) for channels, stride in LEVELS]
    return lambda images: [torch.relu(layer(images)) for layer in filters]


def write_scenes(root, count):
    """VOC's layout, its boxes counted from 1 and with their last pixel."""
    (root / "JPEGImages").mkdir()
    (root / "Annotations").mkdir()
    for index in range(count):
        scene = render(sample_scene(3, index), "photo")
        Image.fromarray(scene.image).save(root / "JPEGImages" / f"{index}.png")
        objects = [
            OBJECT.format(CLASSES[label], left + 1, top + 1, right, bottom)
            for (left, top, right, bottom), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True)
        ]
        (root / "Annotations" / f"{index}.xml").write_text(f"<annotation>{''.join(objects)}</annotation>")


def test_four_scenes_are_learnt_by_heart(tmp_path):
    write_scenes(tmp_path, 4)
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
