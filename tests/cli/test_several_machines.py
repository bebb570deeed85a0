"""Processes of several machines that share work: two launchers on this one, or forked processes with their ranks."""

import json
import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.launchers import ProcessShare, process_share
from tadp_cli.pipelines.train import train
from tadp_cli.run import processes
from tadp_cli.run.processes import joined
from tadp_heads.data.scenes.write import write_scenes

TADP = [sys.executable, "-c", "from tadp_cli.main import app; app()"]
_FORKED = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


def _free_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return str(probe.getsockname()[1])


def _of_two(work, folder: Path) -> list[str]:
    """What `work` of a rank returns, or its error, in two processes."""
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port(), "WORLD_SIZE": "2"}
    children = []
    for rank in range(2):
        if (child := os.fork()) == 0:
            os.environ.update(address | {"RANK": str(rank)})
            try:
                said = work(rank)
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            (folder / f"said{rank}").write_text(str(said))
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    return [file.read_text() for file in sorted(folder.glob("said*"))]


@_FORKED
def test_processes_gather_in_a_folder_that_all_see(tmp_path):
    (tmp_path / "out").mkdir()

    def work(rank: int) -> list[str]:
        with joined(ProcessShare(rank, 2, None), tmp_path / "out") as gathered:
            return gathered(f"of {rank}")

    assert _of_two(work, tmp_path) == ["['of 0', 'of 1']"] * 2
    assert not list((tmp_path / "out").iterdir()), "nothing is left of the check"


@_FORKED
def test_an_output_folder_that_machines_do_not_share_is_refused(tmp_path):
    """Each machine would hold a part of the files, and the first one's list would lack the others'."""
    (tmp_path / "0").mkdir()

    def work(rank: int) -> str:
        with joined(ProcessShare(rank, 2, None), tmp_path / str(rank)):
            return "entered"

    for said in _of_two(work, tmp_path):
        assert "is not one folder on all machines: 1 of 2 processes do not see" in said
        assert said.startswith("ValueError")


@_FORKED
def test_a_process_that_dies_ends_the_others(tmp_path):
    (tmp_path / "out").mkdir()

    def work(rank: int) -> list[int]:
        with joined(ProcessShare(rank, 2, None), tmp_path / "out") as gathered:
            if rank == 1:
                os._exit(9)
            return gathered(rank)

    (said,) = _of_two(work, tmp_path)
    assert said.startswith("RuntimeError: another process, maybe on another machine, ended before all were done")


def test_processes_that_never_start_are_not_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "START", timedelta(seconds=1))
    alone = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port(), "WORLD_SIZE": "2", "RANK": "0"}
    for name, value in alone.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(RuntimeError, match="not all of the 2 processes started within 0:00:01"):  # noqa: SIM117
        with joined(ProcessShare(0, 2, None), tmp_path):
            pass


@pytest.mark.parametrize(
    ("asked", "device"), [(None, "cuda:1"), ("cuda", "cuda:1"), ("cpu", "cpu"), ("cuda:0", "cuda:0")]
)
def test_a_process_takes_the_gpu_of_its_local_rank(monkeypatch, asked, device):
    """Fourth of all processes and second of its machine, which has two GPUs."""
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    share = process_share()
    assert (share.rank, share.world_size, share.device_for(asked)) == (3, 4, device)


def _on_two_machines(processes: int, *command: str) -> list[str]:
    """Output of one `accelerate launch` per machine, of so many processes on both together."""
    port = _free_port()
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", str(processes)]
    launch += ["--num_machines", "2", "--main_process_ip", "127.0.0.1", "--main_process_port", port]
    launch += ["--mixed_precision", "no", "--dynamo_backend", "no"]
    started = [
        subprocess.Popen(
            [*launch, "--machine_rank", str(rank), "--no_python", *TADP, *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    said = []
    for one in started:
        out, errors = one.communicate(timeout=900)
        assert one.returncode == 0, out[-1000:] + errors[-3000:]
        said.append(out)
    return said


@pytest.mark.slow
@pytest.mark.parametrize("processes", [2, 4])
def test_two_machines_predict_and_evaluate_as_one_process(processes, tmp_path):
    """Each machine has a process of local rank 0: shared by that, both would do the same work."""
    data, run, photos = tmp_path / "data", tmp_path / "run", tmp_path / "photos"
    write_scenes(data, task="segmentation", domain="photo", split="train", count=5, seed=0)
    settings = [f"data.folder={data}", f"data.captions={data / 'captions_true_train.jsonl'}", "data.val=train"]
    train(load_recipe("scenes-segmentation", (*settings, "train.steps=1", "train.batch_size=2")), run)
    one = _metrics(run)
    first, second = _on_two_machines(processes, "eval", str(run))
    assert "mIoU" in first
    assert "mIoU" not in second
    assert _metrics(run) == pytest.approx(one, rel=1e-5)
    photos.mkdir()
    for number in range(5):
        Image.new("RGB", (40 + 8 * number, 48), (50 * number, 90, 20)).save(photos / f"{number}.png")
    given = ("predict", str(run), str(photos), "--caption", "a star", "--format", "coco", "--batch-size", "2", "--out")
    first, second = _on_two_machines(processes, *given, str(tmp_path / "two"))
    assert "5 predicted, 0 failed" in first
    assert "predicted" not in second
    subprocess.run([*TADP, *given, str(tmp_path / "one")], check=True, capture_output=True)
    names = [sorted(path.name for path in (tmp_path / out).iterdir()) for out in ("one", "two")]
    assert names[0] == names[1]
    lines = (tmp_path / "two" / "captions.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == list("01234")


def _metrics(run: Path) -> dict[str, float]:
    (entry,) = json.loads((run / "results.json").read_text())["evaluations"]
    return entry["metrics"]
