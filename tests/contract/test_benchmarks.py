"""The scripts in benchmarks/ run from end to end, small and on the CPU."""

import json
from dataclasses import replace

import gpu
import pytest
import torch
from gpu_bench import SIZES, Bench


def run(folder, *options):
    file = folder / "gpu.json"
    gpu.main(["--device", "cpu", "--size", "toy", "--out", str(file), *options])
    return json.loads(file.read_text())


@pytest.mark.slow
def test_gpu_script(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(gpu, "WAYS", (gpu.WAYS[0], gpu.WAYS[4]))  # half precision takes a CPU seconds
    results = run(tmp_path)
    assert {"device", "torch", "triton", "commit"} <= set(results["machine"])
    parts = results["parts"]
    assert list(parts) == ["extraction", "training", "attention", "norms"]
    assert all(row["us"] > 0 for row in parts["attention"] + parts["norms"])
    assert {row["way"] for row in parts["attention"]} == {"explicit", "sdpa, no maps", "sdpa + product", "ours"}
    assert [(row["way"], row["GiB"]) for row in parts["training"]] == [("explicit (a)", None), ("ours", None)]
    assert len(parts["extraction"]) == 2 * 2
    for row in parts["extraction"]:
        assert row["ms/image"] * row["images/s"] == pytest.approx(1000)
    assert all(row["note"] is None for rows in parts.values() for row in rows)
    assert "| way | dtype | from | batch | ms/image |" in capsys.readouterr().out


def test_gpu_script_measures_a_distilled_encoder(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu, "WAYS", (replace(gpu.WAYS[4], taesd=True),))
    rows = run(tmp_path, "--only", "extraction")["parts"]["extraction"]
    assert [(row["from"], row["note"]) for row in rows] == [("latents", None), ("pixels", None)]


def test_gpu_script_keeps_to_its_time(tmp_path):
    """What is measured before doesn't get lost."""
    parts = run(tmp_path, "--minutes", "0", "--only", "norms")["parts"]
    assert list(parts) == ["norms"]
    assert {row["note"] for row in parts["norms"]} == {"left out: the time was up"}


def test_a_way_that_does_not_fit_is_a_row():
    bench = Bench(device=torch.device("cpu"), size=SIZES["toy"], deadline=float("inf"), ceiling=1.0)

    def measure():
        raise torch.OutOfMemoryError("CUDA out of memory")

    assert bench.guarded(measure) == {"note": "out of memory"}
