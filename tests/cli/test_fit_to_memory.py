"""Settings that fit into a memory: what is picked, and that what is counted is what a step takes."""

from copy import deepcopy
from dataclasses import replace
from functools import cache
from itertools import accumulate, pairwise

import pytest
import torch
from invoking import tadp
from torch import nn
from torch.profiler import ProfilerActivity, profile

from tadp_backbone.summary import untrained
from tadp_cli.config.recipe import TrainConfig, load_recipe
from tadp_cli.pipelines.fit_to_memory import dry_step, fitted
from tadp_cli.pipelines.train import build_model, load_backbone
from tadp_cli.prompts.builder import PromptContexts, Prompts
from tadp_cli.run.run import Run
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.tasks import train_transform
from tadp_heads.training.dataset import LiveBatches, TrainingImages
from tadp_heads.training.loop import Objective
from tadp_heads.training.memory.auto_batch_size import GB, fit_into, parse_memory
from tadp_heads.training.memory.probe import OVERHEAD, DryStep
from tadp_heads.training.parallel.fsdp import blocks

SMALL = {
    "segmentation": ("head.variant=ade", "head.width=16"),
    "depth": ("head.fusion_channels=16",),
    "detection": ("head.fpn_channels=16", "head.representation_size=32"),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for task in SMALL:
        for split in ("train", "val"):
            write_scenes(root / task, task=task, domain="photo", split=split, count=2, seed=0)
    return root


def _recipe(data, task="segmentation", *settings):
    fixed = (f"data.folder={data / task}", "prompt.kind=empty", "train.unet_lr_scale=0.1", "train.batch_size=2")
    return load_recipe(f"scenes-{task}", (*fixed, *SMALL[task], *settings))


@pytest.mark.parametrize(
    ("text", "expected"), [("12GB", 12 * 10**9), ("1.5 GiB", 3 * 2**29), ("800mb", 800 * 10**6), ("1MiB", 2**20)]
)
def test_memories_are_read_with_their_units(text, expected):
    assert parse_memory(text) == expected


@pytest.mark.parametrize("text", ["12", "0GB", "GB", "-3GB", "12TB", ""])
def test_what_is_no_memory_is_refused(text):
    with pytest.raises(ValueError, match=r"expected a number with MB, GB, MiB or GiB, such as 12GB"):
        parse_memory(text)


def _formula(config: TrainConfig) -> float:
    """10 GB, and 4 GB an image; half of it in half precision, a quarter with checkpointing."""
    images = config.batch_size * (0.25 if config.gradient_checkpointing else 1)
    return GB * (10 + 4 * images * (0.5 if config.precision == "bf16" else 1))


@pytest.mark.parametrize(
    ("limit", "half", "normed", "expected"),
    [  # (batch size, accumulate, checkpointing, precision) of 8 x 2
        (42, True, False, (8, 2, False, "fp32")),
        (41, True, False, (8, 2, False, "bf16")),
        (41, False, False, (4, 4, False, "fp32")),
        (25, False, False, (2, 8, False, "fp32")),
        (25, False, True, (8, 2, True, "fp32")),
        (13, False, False, (2, 8, True, "fp32")),
        (12.5, True, True, (4, 4, True, "bf16")),
    ],
)
def test_the_fastest_that_fits_is_picked_and_a_step_sees_the_same_images(limit, half, normed, expected):
    config = TrainConfig(batch_size=8, accumulate=2)
    found = fit_into(config, limit * GB, _formula, half=half, normed=normed)
    picked = found.config
    assert (picked.batch_size, picked.accumulate, picked.gradient_checkpointing, picked.precision) == expected
    assert picked.effective_batch == config.effective_batch
    assert found.needed == _formula(picked) <= limit * GB
    same = replace(picked, batch_size=8, accumulate=2, gradient_checkpointing=False, precision="fp32")
    assert same == config, "nothing else changes"


def test_several_processes_share_what_is_picked():
    found = fit_into(TrainConfig(batch_size=8, accumulate=2), 25 * GB, _formula, half=False, normed=False, processes=4)
    assert (found.config.batch_size, found.config.accumulate) == (2, 8)
    assert found.config.accumulate % 4 == 0


def test_where_nothing_fits_the_least_is_named():
    with pytest.raises(ValueError, match=r"--fit 10GB is too little.*11\.0 GB with 1 image a pass.*train\.lora_rank"):
        fit_into(TrainConfig(batch_size=8), 10 * GB, _formula, half=False, normed=False)


@pytest.mark.parametrize(
    ("task", "checkpointing"),
    [("segmentation", True), ("depth", False), pytest.param("detection", False, marks=pytest.mark.slow)],
)
def test_what_is_counted_without_memory_is_what_torchs_profiler_sees_of_a_real_step(data, task, checkpointing):
    recipe = _recipe(data, task, f"train.gradient_checkpointing={str(checkpointing).lower()}")
    step = dry_step(recipe)
    trained = sum(p.numel() for p in step.trained.values())
    weights = sum(t.numel() for t in (*step.model.parameters(), *step.model.buffers()))
    counted = step.bytes_needed(recipe.train) - OVERHEAD - 4 * weights - 8 * trained

    dataset, backbone = open_data(recipe.data.folder, task, "train"), load_backbone(recipe, "cpu")
    prompts = Prompts(dict.fromkeys(dataset.ids, ""))
    model = build_model(recipe, backbone, dataset, prompts)
    objective = Objective(model, recipe.loss).train()
    if checkpointing:
        backbone.unet.enable_gradient_checkpointing()
    live = LiveBatches(model, TrainingImages(dataset, recipe.train), PromptContexts(prompts, backbone))
    batch = live.batch([live.images[position] for position in range(2)])
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        objective(batch).backward()
    events = sorted(
        (e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"), key=lambda e: e.start_ns()
    )
    measured = max(accumulate(event.nbytes() for event in events))
    assert 0.97 * measured < counted < 1.25 * measured


@pytest.fixture(scope="module")
def full(data):
    """(settings) -> what steps of Stable Diffusion 1.5 at 512 pixels take by them, without its weights."""
    backbone = untrained("sd15", device="meta")

    def measure(*settings: str):
        recipe = _recipe(data, "segmentation", "train.transform=user", "train.size=512", *settings)
        vary = train_transform("segmentation", "user", 512)
        dataset = open_data(recipe.data.folder, "segmentation", "train", vary)
        prompts = Prompts({}, torch.zeros(1, 77, 768))
        model = build_model(recipe, deepcopy(backbone), dataset, prompts)
        model.head.to_empty(device="cpu")
        for parameter in model.head.parameters():
            nn.init.normal_(parameter, std=0.01)
        step = DryStep(model, dataset, PromptContexts(prompts, model.backbone), recipe.train, recipe.loss)
        return recipe, cache(step.bytes_needed)

    return measure


@pytest.mark.slow
def test_stable_diffusion_at_full_size_takes_another_split_in_another_memory(full):
    recipe, measure = full("train.batch_size=4")
    picked = [fit_into(recipe.train, m * GB, measure, half=False, normed=False).config for m in (17, 24)]
    assert picked[0] != picked[1]
    assert {config.effective_batch for config in picked} == {4}
    assert picked[0].gradient_checkpointing
    weights = 859_520_964 * 16  # with gradient and two moments, in float32
    for checkpointing in (False, True):
        config = replace(recipe.train, gradient_checkpointing=checkpointing, accumulate=2)
        needed = [measure(replace(config, batch_size=size)) for size in (1, 2)]
        assert all(less < more for less, more in pairwise([weights, *needed]))
    with pytest.raises(ValueError, match=r"--fit 12GB is too little for this recipe: it takes 1\d\.\d GB with 1 image"):
        fit_into(recipe.train, 12 * GB, measure, half=False, normed=False)


@pytest.mark.slow
def test_low_rank_updates_of_stable_diffusion_fit_where_all_of_it_does_not(full):
    recipe, measure = full("train.batch_size=2", "train.lora_rank=8")
    assert fit_into(recipe.train, 12 * GB, measure, half=False, normed=False).needed < 12 * GB


def test_a_frozen_unet_keeps_nothing_for_a_backward_pass(data):
    recipe = _recipe(data)
    frozen = recipe.replace(**{"train.unet_lr_scale": 0.0})
    least = dry_step(frozen).bytes_needed(frozen.train)
    # Gradients and two moments of the UNet's 2.8 million parameters, in float32.
    assert least < dry_step(recipe).bytes_needed(recipe.train) - 3 * 4 * 2_800_000


@pytest.mark.slow
def test_of_what_is_spread_over_processes_each_counts_its_part(data):
    recipe = _recipe(data, "segmentation", "train.accumulate=16")
    spread = recipe.replace(**{"train.shard": True})

    def needed(of, processes):
        return dry_step(of, processes=processes).bytes_needed(of.train)

    whole, two, four = needed(recipe, 2), needed(spread, 2), needed(spread, 4)
    assert needed(spread, 1) == needed(recipe, 1), "no effect with one process"
    step = dry_step(recipe)
    trained = 4 * sum(p.numel() for p in step.trained.values())
    largest = 4 * max(sum(p.numel() for p in block.parameters()) for block in blocks(step.model.backbone))
    # DDP's buckets are gone, and parts of weights, gradients and moments; blocks are whole at a time.
    assert whole - two < 3 * trained - 3 * largest
    assert two - four == pytest.approx(4 * trained * (1 / 2 - 1 / 4), rel=1e-6)


@pytest.mark.slow
def test_what_was_picked_is_reported_and_a_run_resumes_with_it(data, tmp_path, caplog):
    caplog.set_level("INFO", logger="tadp_cli")
    recipe = _recipe(
        data, "segmentation", "train.precision=fp32", "train.accumulate=2", "train.gradient_checkpointing=true"
    )
    step = dry_step(recipe)
    one = replace(recipe.train, batch_size=1, accumulate=4)
    memory = f"{(step.bytes_needed(one) + step.bytes_needed(recipe.train)) / 2e6:.3f}MB"
    picked = fitted(recipe, memory, tmp_path / "run")
    assert picked.train == one
    assert f"--fit {memory}: train.batch_size=1 train.accumulate=4 train.gradient_checkpointing=true" in caplog.text
    assert not (tmp_path / "run").exists(), "nothing is written"
    Run(tmp_path / "run").begin(picked)
    assert fitted(recipe, "64GB", tmp_path / "run", resume=True) == picked
    other = recipe.replace(**{"train.batch_size": 3})
    assert fitted(other, "64GB", tmp_path / "run", resume=True) == other, "left to the check of what may change"


def test_the_command_says_what_a_memory_is(data, tmp_path):
    command = ("train", "scenes-segmentation", "--data", data / "segmentation", "--device", "cpu")
    assert "expected a number with MB" in tadp(*command, "--out", tmp_path / "no", "--fit", "12", code=2)
    assert not (tmp_path / "no").exists()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_steps_are_done_and_measured(data):
    recipe = _recipe(data)
    step = dry_step(recipe, "cuda")
    needed = [step.bytes_needed(replace(recipe.train, batch_size=size, accumulate=2)) for size in (1, 2)]
    weights = sum(p.numel() * p.element_size() for p in nn.Module.parameters(step.model))
    assert OVERHEAD + weights < needed[0] <= needed[1]
