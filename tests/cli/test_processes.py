"""Several processes at one run, and processes that are killed; all of them real."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tadp_cli.config.recipe import TrainConfig, load_recipe
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.train import train
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training.parallel.accelerator import make_accelerator
from tadp_heads.training.parallel.data_parallel import share_of
from tadp_heads.training.parallel.sync_batchnorm import with_whole_passes

TADP = [sys.executable, "-c", "from tadp_cli.main import app; app()"]


@pytest.mark.parametrize(("batch_size", "accumulate", "processes"), [(4, 1, 2), (4, 6, 3), (2, 4, 4), (6, 5, 3)])
def test_every_image_of_a_step_goes_to_one_process(batch_size, accumulate, processes):
    config = TrainConfig(batch_size=batch_size, accumulate=accumulate)
    shares = [share_of(config, processes, rank) for rank in range(processes)]
    for step in (0, 7):
        passes = [places for share in shares for places in share.positions(step)]
        assert len({len(places) for places in passes}) == 1, "all passes weigh the same"
        expected = list(range(step * config.effective_batch, (step + 1) * config.effective_batch))
        assert sorted(place for places in passes for place in places) == expected
    if accumulate % processes == 0:
        one = share_of(config, 1, 0)
        assert [p for share in shares for p in share.positions(3)] == one.positions(3), "the passes of one process"
        numbers = [share.number(3, index) for share in shares for index in range(share.passes)]
        assert numbers == [one.number(3, index) for index in range(one.passes)]


def test_a_batch_that_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"3 processes cannot share train\.batch_size 4 x train\.accumulate 2"):
        share_of(TrainConfig(batch_size=4, accumulate=2), 3, 0)


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_launchers_that_take_a_model_apart_are_refused_in_one_line(name, monkeypatch):
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    with pytest.raises(ValueError, match=rf"launched with {name}.*--multi_gpu; train\.shard=true") as caught:
        make_accelerator("fp32", "cpu")
    assert "\n" not in str(caught.value)


def test_batches_are_normalised_whole_where_a_pass_is_split_over_gpus():
    """The conversion itself is torch's; here, that it keeps weights and names, and where it is done."""
    head = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    split, dealt = share_of(TrainConfig(batch_size=4), 2, 0), share_of(TrainConfig(batch_size=4, accumulate=2), 2, 0)
    gpu, before = torch.device("cuda:0"), dict(head.named_parameters())
    assert with_whole_passes(head, split, torch.device("cpu")) is head
    assert with_whole_passes(head, dealt, gpu) is head
    whole = with_whole_passes(head, split, gpu)
    assert isinstance(whole[1], nn.SyncBatchNorm)
    assert whole.state_dict().keys() == head.state_dict().keys()
    assert all(parameter is before[name] for name, parameter in whole.named_parameters())


def _scenes_of_depth(data: Path, train: int, val: int) -> Path:
    for split, count in (("train", train), ("val", val)):
        write_scenes(data, task="depth", domain="photo", split=split, count=count, seed=0, size=32)
    return data


SMALL = ("prompt.kind=empty", "head.fusion_channels=16", "train.steps=3", "train.batch_size=2", "train.accumulate=2")
# Gradients cut to far below AdamW's epsilon make its steps proportional to them; else rounding errors would flip the
# sign of steps.
PROPORTIONAL = ("train.lr=1", "train.unet_lr_scale=1", "train.warmup=0", "train.clip=1e-9", "train.weight_decay=0")


def _train_on_two(out: Path, settings: list[str], *options: str) -> str:
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = ["train", "scenes-depth", "--out", str(out), *(a for s in settings for a in ("--set", s)), *options]
    result = subprocess.run([*launch, "--no_python", *TADP, *command], capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stdout[-1000:] + result.stderr[:3000]
    return result.stdout


def _lines(run: Path) -> list[dict]:
    """What was written of each step; "grad_norm" is of before the clipping."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if "loss" in line]


def _assert_alike(one: Path, two: Path) -> None:
    for name in ("loss", "grad_norm"):
        expected = [line[name] for line in _lines(one)]
        assert [line[name] for line in _lines(two)] == pytest.approx(expected, rel=1e-4)
    _assert_close(one, two, rtol=1e-4, atol=1e-6)


def _assert_close(one: Path, two: Path, **tolerance: float) -> None:
    for file in ("model.safetensors", "backbone/unet/diffusion_pytorch_model.safetensors"):
        expected, found = load_file(one / file), load_file(two / file)
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, **tolerance, msg=name)


@pytest.mark.slow
@pytest.mark.parametrize("shard", ["false", "true"])
def test_two_processes_train_and_evaluate_as_one(tmp_path, shard):
    """Depth has BatchNorm, a loss that is no mean over images, and a metric that is a sum of floats."""
    settings = [*SMALL, *PROPORTIONAL, f"data.folder={_scenes_of_depth(tmp_path / 'data', 5, 37)}"]
    train(load_recipe("scenes-depth", tuple(settings)), tmp_path / "one")
    printed = _train_on_two(tmp_path / "two", [*settings, f"train.shard={shard}"])
    assert printed.count("effective batch size 4: 2 processes x 1 micro-batches x 2 images") == 1, printed
    assert ("sharded over 2 processes" in printed) == (shard == "true")
    _assert_alike(tmp_path / "one", tmp_path / "two")
    two = json.loads((tmp_path / "two" / "results.json").read_text())["evaluations"][0]["metrics"]
    assert evaluate_run(tmp_path / "two")["metrics"] == two, "the same batches on the same machine"


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [
        ("train.ema=0.5", "train.gradient_checkpointing=true", "train.eval_every=1", "train.accumulate=4"),
        ("train.lora_rank=2", "prompt.kind=learnt", "prompt.vectors=5", "train.clip=0", "train.lr=1e-7"),
    ],
)
def test_a_run_sharded_over_two_processes_resumes_on_two_or_one(tmp_path, more):
    """With a part frozen; with EMA, gradient accumulation and evaluations on the way; or with LoRA, learned vectors and
    no clipping."""
    settings = [*SMALL, *PROPORTIONAL, f"data.folder={_scenes_of_depth(tmp_path / 'data', 5, 3)}", *more]
    settings += ['train.freeze=["unet.mid_block.*"]', "train.shard=true", "train.save_every=1", "train.keep=3"]
    _train_on_two(tmp_path / "whole", settings)
    for name in ("two", "one"):
        run = tmp_path / name
        shutil.copytree(tmp_path / "whole", run)
        for file in ("results.json", "model.safetensors", "state/step_00000002.pt", "state/step_00000003.pt"):
            (run / file).unlink()
        shutil.rmtree(run / "backbone")
        first, *_ = (run / "metrics.jsonl").read_text().splitlines()
        (run / "metrics.jsonl").write_text(json.dumps({**json.loads(first), "kept": True}) + "\n")
    _train_on_two(tmp_path / "two", settings, "--resume")
    _assert_close(tmp_path / "whole", tmp_path / "two", rtol=0, atol=0)
    train(load_recipe("scenes-depth", tuple(settings)), tmp_path / "one", resume=True)
    _assert_alike(tmp_path / "whole", tmp_path / "one")
    for run in (tmp_path / "two", tmp_path / "one"):
        assert [line["step"] for line in _lines(run) if "kept" in line] == [1], "resumed from the first step"


KILLING = """
import os, random, signal, sys, time
from pathlib import Path
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.train import train

folder, recipe = Path(sys.argv[1]), load_recipe("scenes-segmentation", tuple(sys.argv[2:]))

def start(out):
    child = os.fork()
    if child == 0:
        try:
            train(recipe, out, resume=(out / "config.toml").is_file())
        except BaseException as error:
            print(repr(error), flush=True)
            os._exit(1)
        os._exit(0)
    return child

began = time.monotonic()
assert os.waitpid(start(folder / "whole"), 0)[1] == 0
seconds = time.monotonic() - began
moments, kills = random.Random(0), 0
while not (folder / "killed" / "results.json").is_file() or kills < 20:
    child, patience = start(folder / "killed"), moments.uniform(0.02, 1.0) * seconds
    if kills < 20:
        time.sleep(patience)
        os.kill(child, signal.SIGKILL)
        kills += 1
        _, status = os.waitpid(child, 0)
        assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0
        if (folder / "killed" / "results.json").is_file():
            # Over before the last kill: the rest of the kills go to a run begun anew.
            import shutil
            (folder / "killed").rename(folder / f"killed-{kills}")
    else:
        assert os.waitpid(child, 0)[1] == 0
print("kills", kills)
"""


@pytest.mark.slow
def test_a_run_killed_twenty_times_ends_as_one_that_was_not(tmp_path):
    data = tmp_path / "data"
    for split, count in (("train", 6), ("val", 2)):
        write_scenes(data, task="segmentation", domain="photo", split=split, count=count, seed=0, size=32)
    settings = [f"data.folder={data}", "prompt.kind=oracle", "train.steps=60", "train.save_every=3", "train.keep=2"]
    settings += ["train.batch_size=2", "train.unet_lr_scale=0", "train.ema=0.9", "train.eval_every=20", "head.width=16"]
    command = [sys.executable, "-c", KILLING, str(tmp_path), *settings]
    result = subprocess.run(command, capture_output=True, text=True, timeout=1800)
    assert result.returncode == 0, result.stdout + result.stderr[-3000:]
    assert "kills 20" in result.stdout
    ended = list(tmp_path.glob("killed*"))
    assert ended
    for folder in ended:
        _same_run(tmp_path / "whole", folder)


def _same_run(whole: Path, killed: Path) -> None:
    for name in ("model.safetensors", "best/model.safetensors"):
        one, two = load_file(whole / name), load_file(killed / name)
        assert all(torch.equal(one[key], two[key]) for key in one | two), name
    for name in ("metrics.jsonl", "results.json"):
        assert (whole / name).read_text() == (killed / name).read_text()
    hidden = {path.name for path in killed.rglob("*") if path.name.startswith(".")}
    assert hidden <= {".lock"}, "nothing half-written is left"
