"""A run's folder as it comes back from a colleague, a download or an editor: one line that names the file."""

import json
import os
import re
import shutil

import pytest
import torch
from damaged import SAFETENSORS, save_malice
from invoking import tadp
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.prediction_files import write_prediction
from tadp_cli.run.records import read_evaluations, read_object
from tadp_cli.run.run import Run
from tadp_heads import DepthResult
from tadp_heads.atomic_files import write_json
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training.checkpoint import read_state, reading_state
from tadp_heads.training.metrics_log import read_steps


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of one step without words, and its data."""
    root = tmp_path_factory.mktemp("trained")
    write_scenes(root / "data", task="segmentation", domain="photo", split="train", count=1, seed=0)
    settings = ("train.steps=1", "train.batch_size=1", "prompt.kind=empty", "data.val=train")
    options = [f"--set={setting}" for setting in settings]
    tadp("train", "scenes-segmentation", "--data", root / "data", "--out", root / "run", *options)
    return root


@pytest.fixture
def run(trained, tmp_path):
    """A copy to be damaged; the backbone's weights, which no test writes to, are shared."""

    def link(source, target):
        (os.link if "backbone" in target else shutil.copy)(source, target)

    return shutil.copytree(trained / "run", tmp_path / "run", copy_function=link)


def predicted(run, tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "a.png")
    return tadp("predict", run, tmp_path / "a.png", "--out", tmp_path / "out", code=2)


@pytest.mark.parametrize("damage", ["empty", "truncated", "header larger than the file"])
def test_damaged_weights_are_one_line(run, tmp_path, damage):
    (run / "model.safetensors").write_bytes(SAFETENSORS[damage])
    assert re.search(r"error: \S+/run/model.safetensors: found no complete .safetensors file", predicted(run, tmp_path))


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("model", {"classes": "abc"}),
        ("model", {"classes": [1]}),
        ("model", {"palette": [["red", 0, 0]]}),
        ("model", {"prompt": 3}),
        ("head", {"num_classes": "7"}),
        ("head", {"levels": {"a": 1}}),
        (None, {"context_shape": "x"}),
        (None, {"model": []}),
    ],
)
def test_a_config_of_wrong_types_is_one_line(run, tmp_path, section, changes):
    config = json.loads((run / "config.json").read_text())
    (config if section is None else config[section]).update(changes)
    (run / "config.json").write_text(json.dumps(config))
    assert re.search(r"error: \S+/run/config.json: found ", predicted(run, tmp_path))


def test_other_files_of_json_are_named(run, tmp_path):
    (tmp_path / "out").mkdir()
    for file in (run / "results.json", tmp_path / "out" / "settings.json"):
        file.write_text('["nothing"')
    said = tadp("report", run, "--out", tmp_path / "r.html", code=2)
    assert "results.json: found no valid JSON" in said
    assert "settings.json: found no valid JSON" in predicted(run, tmp_path)


def test_a_state_that_would_run_code_is_refused(run, trained):
    recipe = (run / "config.toml").read_text()
    (run / "config.toml").write_text(recipe.replace("steps = 1\n", "steps = 2\n"))
    (run / "results.json").unlink()
    (state,) = (run / "state").glob("step_*.pt")
    save_malice(state)
    settings = ("train.steps=2", "train.batch_size=1", "prompt.kind=empty", "data.val=train")
    options = [f"--set={setting}" for setting in settings]
    data = ("--data", trained / "data")
    said = tadp("train", "scenes-segmentation", *data, "--out", run, "--resume", *options, code=2)
    assert f"{state.name} cannot be read: no complete pickle of tensors only" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("content", [b"", b"no pickle", [1, 2], {"step": 1}])
def test_what_is_no_state_is_named(tmp_path, content):
    file = tmp_path / "step_00000001.pt"
    if isinstance(content, bytes):
        file.write_bytes(content)
    else:
        torch.save(content, file)
    message = r"^\S*step_00000001.pt cannot be read: .*delete it to resume"
    with pytest.raises(ValueError, match=message), reading_state(file):
        read_state(file)["trained"]


def test_results_and_metrics_of_other_forms_are_named(tmp_path):
    for value in ([], {"evaluations": {}}, {"evaluations": [3]}, {"evaluations": [{"data": "a", "metrics": {}}]}):
        write_json(tmp_path / "results.json", value)
        with pytest.raises(ValueError, match=r"results.json: found"):
            read_evaluations(tmp_path / "results.json")
    write_json(tmp_path / "results.json", {})
    with pytest.raises(ValueError, match=r"results.json: found no 'rows'"):
        read_object(tmp_path / "results.json", "rows")
    (tmp_path / "m.jsonl").write_bytes(b'{"step": 1, "loss": 2}\n{"step": 2')
    assert read_steps(tmp_path / "m.jsonl") == [{"step": 1, "loss": 2}]
    for line in (b"\xff", b"3", b'{"step": "1"}', b"[" * 9999):
        (tmp_path / "m.jsonl").write_bytes(line + b"\n")
        with pytest.raises(ValueError, match=r"m.jsonl: found .* in line 1"):
            read_steps(tmp_path / "m.jsonl")


@pytest.mark.parametrize("content", ["{}", "[", '{"evaluations": [3]}'])
def test_a_run_with_malformed_results_is_not_begun_again_and_they_are_named(run, content):
    (run / "results.json").write_text(content)
    with pytest.raises(ValueError, match=r"run/results\.json: found"):
        Run(run).check(load_recipe(run / "config.toml"), resume=False)


@pytest.mark.parametrize("name", ["../a", "b/../../a", "linked/a"])
def test_no_prediction_is_written_outside_of_out(tmp_path, name):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "linked").symlink_to(tmp_path)
    result = DepthResult(image=Image.new("RGB", (4, 4)), metres=torch.ones(4, 4))
    with pytest.raises(ValueError, match="leads out of"):
        write_prediction(result, tmp_path / "out", name, "a.png")
    assert not list(tmp_path.glob("a_*"))


def test_an_absolute_id_is_written_below_out(tmp_path):
    """As NYUv2's ids begin with a slash."""
    result = DepthResult(image=Image.new("RGB", (4, 4)), metres=torch.ones(4, 4))
    write_prediction(result, tmp_path / "out", f"{tmp_path}/a", "a.png")
    assert not list(tmp_path.glob("a_*"))
    assert len(list((tmp_path / "out").rglob("a_depth.npy"))) == 1
