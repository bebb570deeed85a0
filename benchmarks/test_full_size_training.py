"""A training step and an evaluation of each task with Stable Diffusion 1.5 at full width, random weights: time, memory.

SIZE in pixels: TADP_BENCH_SIZE, 128 by default. On a GPU where there is one. A state of the run is written to the
temporary folder: 10 GB, gone afterwards.
"""

import os
import resource

import pytest
import torch

from tadp_backbone.summary import untrained
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.train import build_model
from tadp_cli.prompts.builder import Prompts
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training import SharedContext, evaluate, fit

SIZE = int(os.environ.get("TADP_BENCH_SIZE", "128"))
MEMORY_GIB = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


@pytest.mark.skipif(MEMORY_GIB < 20, reason="needs 20 GiB of memory")
@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_one_step_and_one_evaluation(benchmark, capsys, tmp_path, task):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    write_scenes(tmp_path / "data", task=task, domain="photo", split="train", count=2, seed=0, size=SIZE)
    dataset = open_folder(tmp_path / "data", task, "train")
    changes = {"train.steps": 1, "train.batch_size": 1, "train.accumulate": 1, "train.transform": "", "protocol": ""}
    recipe = load_recipe(task).replace(**changes)
    backbone = untrained("sd15", device=device)
    shared = torch.randn(1, 77, backbone.unet.config.cross_attention_dim, device=device)
    model, contexts = build_model(recipe, backbone, dataset, Prompts({}, shared)), SharedContext(shared)
    before = next(backbone.unet.parameters()).detach().clone()

    def step_and_evaluate():
        fit(model, dataset, contexts, recipe.train, tmp_path / "run", loss=recipe.loss)
        return evaluate(model, dataset, contexts, batch_size=1)

    metrics = benchmark.pedantic(step_and_evaluate, rounds=1)
    assert not torch.equal(before, next(backbone.unet.parameters()))
    assert metrics
    # The process's own peak holds what ran before, too.
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    with capsys.disabled():
        print(
            f"\nsd15, {task}, a step of 1 image of {SIZE} x {SIZE} and its state, 2 evaluated, {device}: "
            f"{benchmark.stats.stats.min:.0f} s, peak memory {peak / 2**30:.1f} GiB"
        )
