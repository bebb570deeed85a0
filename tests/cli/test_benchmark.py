"""`tadp benchmark`: the table and the JSON of a run's costs."""

import json

import pytest
from invoking import tadp

RUN = "tests/data/first_layout/run"


def test_each_size_and_precision_is_measured(repository, tmp_path, monkeypatch):
    monkeypatch.setattr("tadp_heads.export.timing.SECONDS", 0.01)
    options = ("--size", "32x48", "--size", "50x30", "--precision", "fp32", "--precision", "bf16", "--batch-size", "2")
    output = tadp("benchmark", repository / RUN, *options, "--device", "cpu", "--json", tmp_path / "costs.json")
    found = json.loads((tmp_path / "costs.json").read_text())
    costs = found["costs"]
    assert [(cost["height"], cost["width"], cost["precision"]) for cost in costs] == [
        (32, 48, "fp32"),
        (50, 30, "fp32"),
        (32, 48, "bf16"),
        (50, 30, "bf16"),
    ]
    assert all(cost["milliseconds"] > 0 and cost["batch_size"] == 2 for cost in costs)
    assert all(cost["memory_mb"] is None or cost["memory_mb"] > 10 for cost in costs)
    assert "32x48 fp32 2" in output
    assert found["device"].startswith("cpu")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--size", "dynamic"), "--size: expected height x width in pixels"),
        (("--batch-size", "0"), "--batch-size is 0, expected at least 1"),
    ],
)
def test_wrong_options_are_one_line(repository, options, message):
    assert message in tadp("benchmark", repository / RUN, *options, code=2)
