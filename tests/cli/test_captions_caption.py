"""`tadp caption` killed, launched twice at once, and asked to redo what was flagged."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from crowd import Crowd
from invoking import tadp
from packed import shard
from PIL import Image

TADP = [sys.executable, "-c", "from tadp_cli.main import app; app()"]


def make_images(folder: Path, count: int) -> Path:
    folder.mkdir()
    for i in range(count):
        Image.new("RGB", (32, 32), (i % 256, i * 7 % 256, 90)).save(folder / f"{i:03}.png")
    return folder


def ids_of(file: Path) -> list[str]:
    return sorted(json.loads(line)["id"] for line in file.read_text().splitlines())


@pytest.mark.slow
def test_kill_9_loses_at_most_the_batch_in_flight(tmp_path):
    images, out = make_images(tmp_path / "data", 60), tmp_path / "c.jsonl"
    arguments = ["caption", str(images), "--captioner", "tiny", "--batch-size", "2", "--out", str(out)]
    process = subprocess.Popen([*TADP, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not out.exists() or out.stat().st_size < 600:
        assert process.poll() is None, "ended before it could be killed"
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = out.read_text().count("\n")
    assert 0 < kept < 60
    said = tadp(*arguments)
    assert f"{60 - kept} captioned" in said
    assert f"{kept} were there already" in said
    assert ids_of(out) == [f"{i:03}" for i in range(60)], "each image once"


@pytest.mark.slow
def test_ten_thousand_images_are_captioned_by_a_server_once_each(tmp_path):
    """From archives, 64 requests under way at most; killed on the way and resumed."""
    crowd, out = Crowd(delay_s=0.02), tmp_path / "c.jsonl"
    for start in range(0, 10_000, 2_500):
        shard(tmp_path / f"{start}.tar", range(start, start + 2_500))
    arguments = ["caption", str(tmp_path / "*.tar"), "--captioner", "openai:toy", "--base-url", crowd.base_url]
    command = [*TADP, *arguments, "--batch-size", "64", "--out", str(out)]
    environment = os.environ | {"OPENAI_API_KEY": "none"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        while not out.exists() or out.read_text().count("\n") < 3_000:
            assert process.poll() is None, "ended before it could be killed"
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        kept = out.read_text().count("\n")
        resumed = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=1800)
    finally:
        process.kill()
        crowd.close()
    assert f"{10_000 - kept} captioned" in resumed.stdout, resumed.stdout + resumed.stderr[-2000:]
    assert ids_of(out) == [f"part/{number:06d}" for number in range(10_000)], "none twice, none lost"
    assert crowd.most <= 64
    assert crowd.answered <= 10_000 + 4 * 64, "only what was under way was asked for again"


@pytest.mark.slow
def test_accelerate_launch_shares_the_work_and_waits_for_all(tmp_path):
    """A bad image among the first process's ends it first; the other one must finish its share all the same."""
    images, out = make_images(tmp_path / "data", 12), tmp_path / "c.jsonl"
    (images / "000.png").write_bytes(b"not a picture")
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    launch += ["--main_process_port", "0", "--no_python"]
    arguments = ["caption", str(images), "--captioner", "tiny", "--batch-size", "2", "--out", str(out)]
    result = subprocess.run([*launch, *TADP, *arguments], capture_output=True, text=True, timeout=300)
    assert result.returncode != 0, "the exit code reports the bad image"
    said = " ".join((result.stdout + result.stderr).split())
    assert said.count("11 captioned by 2 processes (5 + 6)") == 1, said
    assert "failed: 000" in said
    assert ids_of(out) == [f"{i:03}" for i in range(12)]
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows if "error" in row] == ["000"]


def test_flagged_captions_are_redone_and_no_others(tmp_path):
    images, out, bad = make_images(tmp_path / "data", 5), tmp_path / "c.jsonl", tmp_path / "bad.txt"
    one_by_one = ("--captioner", "tiny", "--batch-size", "1", "--out", out)  # batches decide near ties by rounding
    tadp("caption", images, *one_by_one)
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    good = {row["id"]: row["caption"] for row in rows}
    rows[1]["caption"], rows[3]["caption"] = "", "a dog a dog a dog a dog"
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "2 flagged" in tadp("captions", "stats", out, "--flag", bad)
    assert bad.read_text().split() == ["001", "003"]
    said = tadp("caption", images, *one_by_one, "--only-flagged", bad)
    assert "2 captioned" in said
    assert "images/s" in said
    again = {row["id"]: row["caption"] for row in map(json.loads, out.read_text().splitlines())}
    assert again == good, "the tiny captioner says the same of the same image"
    assert len(out.read_text().splitlines()) == 7


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file; `tadp captions stats --flag"), ("nothing\n", "no image 'nothing' among the 1 of the data")],
)
def test_a_wrong_list_of_flagged_is_one_line(tmp_path, content, message):
    images, bad = make_images(tmp_path / "data", 1), tmp_path / "bad.txt"
    if content is not None:
        bad.write_text(content)
    said = tadp("caption", images, "--out", tmp_path / "c.jsonl", "--only-flagged", bad, code=2)
    assert message in said


def test_several_files_can_be_named(tmp_path):
    images = make_images(tmp_path / "data", 3)
    tadp("caption", images / "000.png", images / "002.png", "--captioner", "tiny", "--out", tmp_path / "c.jsonl")
    assert ids_of(tmp_path / "c.jsonl") == ["000", "002"]
