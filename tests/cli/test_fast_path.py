"""What half precision costs in metrics: the same trained run, evaluated in fp32 and on the fast path."""

import pytest

from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.evaluate import evaluated
from tadp_cli.pipelines.train import train
from tadp_cli.precision import Speed
from tadp_heads.data.scenes.write import write_scenes

IMAGES = 200
TOLERANCES = {  # shares as 0..1, and RMSE relative to itself
    "segmentation": ("mIoU", {"abs": 0.003}),
    "detection": ("AP", {"abs": 0.003}),
    "depth": ("rmse", {"rel": 0.005}),
}


@pytest.mark.slow
@pytest.mark.parametrize("task", TOLERANCES)
def test_half_precision_keeps_the_metrics_of_a_trained_run(task, tmp_path, record_property):
    for split, count, seed in (("train", 100, 0), ("val", IMAGES, 1)):
        write_scenes(tmp_path / "data", task=task, domain="photo", split=split, count=count, seed=seed)
    kind = "empty" if task == "depth" else "class-names"
    settings = (f"data.folder={tmp_path / 'data'}", f"prompt.kind={kind}", "train.steps=150", "train.flip=false")
    train(load_recipe(f"scenes-{task}", settings), tmp_path / "run")
    full, half = (evaluated(tmp_path / "run", speed=Speed(precision=name))["metrics"] for name in ("fp32", "bf16"))
    name, tolerance = TOLERANCES[task]
    record_property(name, f"fp32 {full[name]:.4f}, bf16 {half[name]:.4f}")
    assert half[name] == pytest.approx(full[name], **tolerance)
