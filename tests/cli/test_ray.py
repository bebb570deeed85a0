"""`--engine ray` on a cluster of this machine, where an actor is killed in the middle of its work."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from crowd import Crowd
from invoking import tadp
from packed import shard

from tadp_heads.data.scenes.write import write_scenes

TADP = [sys.executable, "-c", "from tadp_cli.main import app; app()"]


def actors_of(driver: int) -> list[int]:
    """Process ids of the actors below a command's process."""
    parents, names = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            names[int(folder.name)] = (folder / "cmdline").read_bytes()
        except OSError:  # it has ended
            continue

    def below(pid: int) -> bool:
        return pid == driver or (pid in parents and below(parents[pid]))

    return [pid for pid, name in names.items() if name.startswith(b"ray::MapWorker") and below(pid)]


def kill_an_actor(process: subprocess.Popen, written: Path, lines: int) -> None:
    """Once so many lines are written, and before the command ends."""
    end = time.monotonic() + 900
    while not written.is_file() or written.read_text().count("\n") < lines:
        assert process.poll() is None, "ended before an actor could be killed"
        assert time.monotonic() < end
        time.sleep(0.05)
    os.kill(actors_of(process.pid)[0], signal.SIGKILL)


def started(arguments: list[object]) -> subprocess.Popen:
    environment = os.environ | {"OPENAI_API_KEY": "none"}
    command = [*TADP, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)


@pytest.mark.slow
def test_images_of_a_killed_actor_are_captioned_once_by_another(tmp_path):
    """Then some are captioned anew and the rest resumed, as by one process."""
    pytest.importorskip("ray")
    crowd, out = Crowd(delay_s=0.4), tmp_path / "captions.jsonl"
    shard(tmp_path / "a.tar", range(40))
    shard(tmp_path / "b.tar", range(40, 60))
    arguments = ["caption", tmp_path / "*.tar", "--captioner", "openai:toy", "--base-url", crowd.base_url]
    arguments += ["--batch-size", 1, "--engine", "ray", "--actors", 2, "--out", out]
    process = started(arguments)
    try:
        kill_an_actor(process, out, 8)
        said = process.communicate(timeout=900)[0]
    finally:
        process.kill()
        crowd.close()
    assert process.returncode == 0, said
    assert "60 captioned" in said
    ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
    assert sorted(ids) == [f"part/{number:06d}" for number in range(60)], "none twice, none lost"
    assert len(crowd.images) == 60
    assert 1 < max(Counter(crowd.images).values()) <= 2, "the killed actor's part was done again"


@pytest.mark.slow
def test_images_of_a_killed_actor_are_predicted_once_by_another(tmp_path):
    """From an archive, with given captions; each image has its files and one record."""
    pytest.importorskip("ray")
    data, run, out = tmp_path / "data", tmp_path / "run", tmp_path / "out"
    write_scenes(data, task="segmentation", domain="photo", split="train", count=1, seed=0)
    settings = ("train.steps=1", "train.batch_size=1", "train.flip=false", "data.val=train")
    captions = data / "captions_true_train.jsonl"
    options = [f"--set={setting}" for setting in settings]
    tadp("train", "scenes-segmentation", "--data", data, "--captions", captions, "--out", run, *options)
    shard(tmp_path / "a.tar", range(48))
    given = tmp_path / "captions.jsonl"
    rows = ({"id": f"part/{number:06d}", "caption": f"a star {number}"} for number in range(48))
    given.write_text("".join(json.dumps(row) + "\n" for row in rows))
    arguments = ["predict", run, tmp_path / "a.tar", "--captions", given, "--batch-size", 1]
    process = started([*arguments, "--engine", "ray", "--actors", 2, "--out", out])
    try:
        kill_an_actor(process, out / "captions.jsonl", 8)
        said = process.communicate(timeout=900)[0]
    finally:
        process.kill()
    assert process.returncode == 0, said
    assert "48 predicted, 0 failed" in said
    rows = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert sorted(row["id"] for row in rows) == [f"part/{number:06d}" for number in range(48)], "none twice, none lost"
    assert {row["id"]: row["caption"] for row in rows} == {f"part/{n:06d}": f"a star {n}" for n in range(48)}
    assert all((out / f"{row['id']}_overlay.png").is_file() for row in rows)
    assert "48 were there already" in tadp(*arguments, "--out", out), "one process resumes what actors began"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--engine", "slurm"), "unknown engine 'slurm'; choose from local, ray"),
        (("--actors", "2"), "add --engine ray"),
        (("--engine", "ray", "--actors", "-1"), "expected at least 1"),
        (("--engine", "ray", "--workers", "2"), "an actor reads its images itself"),
        (("--engine", "ray", "--device", "cuda:1"), "Ray gives each actor a GPU of its own"),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message, monkeypatch):
    monkeypatch.setattr("tadp_cli.device.checked_device", lambda name: name)
    shard(tmp_path / "a.tar", range(1))
    said = tadp("caption", tmp_path / "a.tar", "--captioner", "tiny", "--out", tmp_path / "c.jsonl", *options, code=2)
    assert message in said


def test_processes_that_were_launched_do_not_each_start_ray(tmp_path, monkeypatch):
    launched = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "1"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    shard(tmp_path / "a.tar", range(1))
    arguments = ("--captioner", "tiny", "--out", tmp_path / "c.jsonl", "--engine", "ray")
    assert "in each of 2 processes" in tadp("caption", tmp_path / "a.tar", *arguments, code=2)


def test_without_ray_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    shard(tmp_path / "a.tar", range(1))
    arguments = ("--captioner", "tiny", "--out", tmp_path / "c.jsonl", "--engine", "ray")
    assert "pip install 'tadp-cli[ray]'" in tadp("caption", tmp_path / "a.tar", *arguments, code=2)
