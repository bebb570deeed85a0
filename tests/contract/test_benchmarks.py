"""The scripts in benchmarks/ run from end to end, small and on the CPU."""

import json
from dataclasses import replace

import compilation
import cpu
import gpu
import labelling
import pytest
import result_pages
import torch
from baselines import ATTENTIONS
from gpu_bench import SIZES, Bench


def run(folder, *options):
    file = folder / "gpu.json"
    gpu.main(["--device", "cpu", "--size", "toy", "--out", str(file), *options])
    return json.loads(file.read_text())


@pytest.mark.slow
def test_gpu_script(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "WAYS", (gpu.WAYS[0], gpu.WAYS[4]))  # half precision takes a CPU seconds
    monkeypatch.setattr(gpu, "TRAINING_WAYS", gpu.WAYS)
    results = run(tmp_path)
    assert {"device", "torch", "triton", "commit"} <= set(results["machine"])
    parts = results["parts"]
    assert list(parts) == ["extraction", "training", "attention", "blocks"]
    assert all(row["us"] > 0 for row in parts["attention"] + parts["blocks"])
    assert {row["way"] for row in parts["attention"]} == set(ATTENTIONS)
    assert [(row["way"], row["GiB"]) for row in parts["training"]] == [("explicit (a)", None), ("ours", None)]
    assert len(parts["extraction"]) == 2 * 2
    for row in parts["extraction"]:
        assert row["ms/image"] * row["images/s"] == pytest.approx(1000)
    assert all(row["note"] is None for rows in parts.values() for row in rows)
    assert "| way | dtype | from | batch | ms/image |" in capsys.readouterr().out


@pytest.mark.slow
def test_training_steps_are_compared_in_turns():
    rows = list(cpu.training_ratios("toy", rounds=1))
    ways = [("explicit (a)", "float32"), ("tadp train", "float32"), ("tadp train", "bfloat16")]
    assert [(row["way"], row["dtype"], row["batch"]) for row in rows] == [(*way, n) for n in (2, 8) for way in ways]
    assert [row["ratio"] for row in rows if row["way"] == "explicit (a)"] == [1, 1]


@pytest.mark.slow
def test_seconds_of_compilation_are_printed(capsys):
    torch.compiler.reset()
    compilation.main(["--size", "toy", "--side", "16", "--rounds", "1", "--backend", "eager"])
    assert "12 graphs" in capsys.readouterr().out


def test_gpu_script_measures_a_distilled_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "WAYS", (replace(gpu.WAYS[4], taesd=True),))
    rows = run(tmp_path, "--only", "extraction")["parts"]["extraction"]
    assert [(row["from"], row["note"]) for row in rows] == [("latents", None), ("pixels", None)]


def test_gpu_script_keeps_to_its_time(tmp_path):
    """What is measured before doesn't get lost."""
    parts = run(tmp_path, "--minutes", "0", "--only", "blocks")["parts"]
    assert list(parts) == ["blocks"]
    assert {row["note"] for row in parts["blocks"]} == {"left out: the time was up"}


def test_a_way_that_does_not_fit_is_a_row():
    bench = Bench(device=torch.device("cpu"), size=SIZES["toy"], deadline=float("inf"), ceiling=1.0)

    def measure():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert bench.guarded(measure) == {"note": "out of memory"}


@pytest.mark.slow
def test_labelling_script(tmp_path):
    small = ("--domains", "photo", "--pool", "44", "--val", "4", "--start", "3", "--step", "2", "--rounds", "1")
    file = tmp_path / "labelling.json"
    labelling.main([*small, "--steps", "2", "--extra", "1", "--seeds", "0", "1", "--results", str(file)])
    results = json.loads(file.read_text())
    assert {arm: list(curve) for arm, curve in results["budget"]["values"]["photo"].items()} == {
        "masks": ["0", "1"],
        "names": ["0", "1"],
    }
    assert list(results["next"]["values"]) == ["text", "entropy", "random"]
    assert all(list(curve) == ["3", "5"] for curve in results["next"]["values"].values())
    assert all(0 <= value <= 1 for value in results["errors"]["values"]["photo"]["text"])
    page = result_pages.PAGES["labelling"](results)
    assert "| chosen by | 3 images | 5 images |" in page
    assert page.count("2 steps of 8 images") == 3
    assert (tmp_path / "labelling.png").is_file()
