"""Metrics cover every image and do not depend on the batch size."""

import pytest
import torch

from tadp_backbone import DiffusionBackbone
from tadp_heads import PerceptionConfig, PerceptionModel
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.registry import TASKS, get_task
from tadp_heads.training import SharedContext, evaluate

SMALL = {
    "segmentation": {"variant": "ade", "width": 16},
    "depth": {"fusion_channels": 16},
    "detection": {"fpn_channels": 16, "representation_size": 32},
}


@pytest.mark.parametrize("name", TASKS)
def test_metrics_do_not_depend_on_the_batch(tmp_path, name):
    write_scenes(tmp_path, task=name, domain="photo", split="val", count=5, seed=0, size=32)
    dataset = open_data(tmp_path, name, "val")
    torch.manual_seed(0)
    task, backbone = get_task(name), DiffusionBackbone.from_pretrained("tiny").freeze()
    model = PerceptionModel(
        backbone,
        task.build_head(backbone.levels, dataset.classes, **SMALL[name]),
        PerceptionConfig(task=name, classes=dataset.classes),
    )
    contexts = SharedContext(backbone.encode_text([""]))
    seen: list[str] = []
    read = dataset.read
    dataset.read = lambda image_id: seen.append(image_id) or read(image_id)
    metrics = {}
    for size in (1, 2, 16):
        metrics[size] = evaluate(model, dataset, contexts, batch_size=size)
        assert seen == list(dataset.ids)
        seen.clear()
    for size in (2, 16):
        assert metrics[size] == pytest.approx(metrics[1], abs=1e-3, nan_ok=True), size
