"""The keys of the files that users and other programs read stay; tests/contract/surface has them.

Those of the demo, an adaptation, a table and the analyses are looked at where these are tested (tests/cli).
"""

import tomllib

import pytest
import torch
from invoking import tadp
from PIL import Image
from surface import assert_frozen, key_lines

from tadp_cli.pipelines.prediction_files import write_prediction
from tadp_heads import DetectionResult

RUN = (
    "config.json",
    "metrics.jsonl",
    "results.json",
    "state/step_00000003.pt",
    "prompt_names.json",
    "model.safetensors",
)


@pytest.fixture(scope="module")
def evaluated(first_layout, resumed):
    """The run, evaluated on data that is captioned and cleaned for it."""
    data = ("--data", first_layout / "photos", "--split", "train", "--domain", "watercolor", "--protocol", "slide")
    tadp("eval", resumed, *data, "--modifier", "simple")
    return resumed


def test_a_run(evaluated):
    best = ("best/results.json", "best/prompt_names.json", "best/model.safetensors")
    maps = (
        "*prompt_names.json",
        "*results.json evaluations*.per_class",
        "*.safetensors tensors",
        "*.pt trained",
        "*.pt buffers",
    )
    files = (*RUN, *best, "captions/*.jsonl", "backbone/config.json")
    assert_frozen("run", key_lines(evaluated, *files, maps=maps))


def test_a_run_s_recipe_has_all_settings(evaluated, repository):
    written = tomllib.loads((evaluated / "config.toml").read_text())
    flat = {
        f"{k}.{i}" if isinstance(v, dict) else k
        for k, v in written.items()
        for i in (v if isinstance(v, dict) else "-")
    }
    frozen = (repository / "tests/contract/surface/settings.txt").read_text().splitlines()
    names = {line.split()[0] for line in frozen if "removed" not in line}
    assert names - {"head", "loss", "plugins"} | {"format"} <= flat
    assert (evaluated / "best" / "config.toml").read_text() == (evaluated / "config.toml").read_text()


def test_predictions(first_layout, resumed, tmp_path):
    tadp("predict", resumed, first_layout / "photos" / "images" / "val_00004.png", "--out", tmp_path)
    boxes = DetectionResult(
        image=Image.new("RGB", (8, 8)),
        boxes=torch.tensor([[1.0, 2.0, 3.0, 4.0]]),
        scores=torch.tensor([0.5]),
        labels=torch.tensor([0]),
        names=("circle",),
        palette=((255, 0, 0),),
    )
    write_prediction(boxes, tmp_path, "one", "one.png")
    files = {path.name: "file" for path in sorted(tmp_path.iterdir())}
    assert_frozen("predictions", files | key_lines(tmp_path, "*.json", "*.jsonl"))


def test_personalizations(first_layout, tmp_path):
    photos = first_layout / "photos" / "images"
    given = ("--images", photos / "train_*.png", "--held-out", photos / "val_00004.png", "--captioner", "none")
    short = ("--steps", 1, "--rank", 1, "--set", "held_out_timesteps=1", "--set", "accumulate=1")
    learn = ("personalize", "--domain", "watercolor", "--backbone", first_layout / "backbone", "--method", "both")
    tadp(*learn, *given, *short, "--out", tmp_path)
    maps = ("*/personalization.json captions", "*/state/state.pt trained", "dreambooth/*.safetensors tensors")
    patterns = ("*.json", "*/*.json", "*/*.jsonl", "*/*.safetensors", "*/state/state.pt")
    assert_frozen("personalizations", key_lines(tmp_path, *patterns, maps=maps))
