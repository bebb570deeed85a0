"""Several target conditions in one run: each under the prompt of its own, and their mean."""

import json

import pytest
from invoking import tadp
from official_layouts import LAYOUTS, acdc

from tadp_cli.config.recipe import load_recipe

CONDITIONS = ("fog", "night", "rain", "snow")


@pytest.fixture(scope="module")
def street(tmp_path_factory):
    root = tmp_path_factory.mktemp("street")
    for split in ("train", "val"):
        LAYOUTS["cityscapes"](root / "cityscapes", split, (32, 32))
    acdc(root / "acdc", "val", (32, 32))
    return root


def test_each_condition_is_evaluated_under_its_prompt_and_their_mean_is_reported(street, tmp_path):
    settings = ("backbone.source=tiny", "backbone.posterior=", "prompt.kind=class-names", "protocol=whole")
    settings += ("train.steps=1", "train.warmup=0", "train.size=32", "train.workers=0", "train.unet_lr_scale=0")
    settings += ("head.width=16", f"test.folder=acdc:{street / 'acdc'}", "backbone.image_range=sd")
    call = ["train", "cityscapes-acdc", "--data", f"cityscapes:{street / 'cityscapes'}", "--out", tmp_path / "run"]
    tadp(*call, "--device", "cpu", *(part for setting in settings for part in ("--set", setting)))
    _, *entries, mean = json.loads((tmp_path / "run" / "results.json").read_text())["evaluations"]
    assert [(e["split"], e["modifier"], e["domain"]) for e in entries] == [
        (f"{name}/val", "simple", name) for name in CONDITIONS
    ]
    assert mean["split"] == "mean of fog/val, night/val, rain/val, snow/val"
    for name, value in mean["metrics"].items():
        assert value == pytest.approx(sum(entry["metrics"][name] for entry in entries) / 4)
    assert load_recipe(tmp_path / "run" / "config.toml").prompt.styles == CONDITIONS


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("test.conditions=['hail']", "condition in test.conditions"),
        ("test.conditions=['fog','fog']", "name each condition once"),
        ("test.modifier=dreambooth", "test.modifier"),
        ("test.folder=", "test.conditions needs a data set"),
    ],
)
def test_conditions_that_cannot_be_are_reported(setting, expected):
    with pytest.raises(ValueError, match=expected):
        load_recipe("cityscapes-acdc", (setting,))
