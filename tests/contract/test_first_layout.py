"""What the code before the packages were restructured wrote: later code resumes, reads and uses it."""

import json
import shutil

import pytest
import torch
from diffusers import StableDiffusionPipeline
from invoking import tadp
from PIL import Image
from safetensors.torch import load_file

from tadp_backbone import DiffusionBackbone
from tadp_captioning import CaptionStore
from tadp_personalize import check_base, load_token

IDS = [*(f"train_{i:05d}" for i in range(4)), *(f"val_{i:05d}" for i in (4, 5))]
TEXT = "a red circle and a square"


@pytest.fixture(scope="module")
def run(first_layout, tmp_path_factory):
    """The finished run, in a folder that may be added to."""
    return shutil.copytree(first_layout / "run", tmp_path_factory.mktemp("runs") / "run")


def test_a_run_resumes_and_ends_as_it_would_have_then(run, resumed):
    then, now = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()] for folder in (run, resumed)
    )
    assert [line["step"] for line in now if "loss" in line] == [1, 2, 3]
    assert now[:2] == then[:2]
    assert now[-1]["loss"] == pytest.approx(then[2]["loss"], rel=1e-3)
    for file in ("model.safetensors", "backbone/unet/diffusion_pytorch_model.safetensors"):
        old, new = load_file(run / file), load_file(resumed / file)
        assert old.keys() == new.keys()
        apart = sum((old[name] - new[name]).square().sum() for name in old).sqrt()
        assert apart < 1e-3 * sum(tensor.square().sum() for tensor in old.values()).sqrt()


def test_a_run_is_evaluated_and_predicts_and_explains(first_layout, run, tmp_path):
    (then,) = json.loads((run / "results.json").read_text())["evaluations"]
    assert "mIoU" in tadp("eval", run)
    (now,) = json.loads((run / "results.json").read_text())["evaluations"]
    assert now["metrics"].keys() == then["metrics"].keys()
    assert now["metrics"]["mIoU"] == pytest.approx(then["metrics"]["mIoU"], abs=0.01)
    image = first_layout / "photos" / "images" / "val_00004.png"
    assert "1 predicted, 0 failed" in tadp("predict", run, image, "--caption", TEXT, "--out", tmp_path / "out")
    with Image.open(tmp_path / "out" / "val_00004_mask.png") as mask:
        assert mask.size == (32, 32)
    explained = tadp("explain", image, "--run", run, "--caption", TEXT, "--out", tmp_path / "words.png")
    assert "<watercolor>" in explained
    assert "circle" in explained


def test_a_run_is_reported(run, tmp_path):
    tadp("report", run, "--images", 1, "--out", tmp_path / "report.html")
    assert "photos/val" in (tmp_path / "report.html").read_text()


def test_captions_are_read(first_layout):
    captions = CaptionStore.read(first_layout / "captions.jsonl")
    assert not captions.missing(IDS)
    assert all(captions[image_id] for image_id in IDS)
    assert captions.record("val_00004").captioner
    assert captions.record("val_00004").source == "photos/images/val_00004.png"


def test_a_token_and_a_lora_are_loaded_and_change_what_the_model_gives(first_layout):
    plain, changed = (DiffusionBackbone.from_pretrained(first_layout / "backbone") for _ in range(2))
    changed.load_tokens(first_layout / "token" / "learned_embeds.safetensors")
    changed.load_lora(first_layout / "lora")
    image = torch.zeros(1, 3, 32, 32)
    with torch.no_grad():
        before, after = plain.encode_text(["a watercolor"]), changed.encode_text(["a <watercolor>"])
        assert 1e-4 < (before - after).abs().max() < 1  # two steps from the word that it began at
        assert (plain(image, before).levels[0] - changed(image, before).levels[0]).abs().max() > 1e-6


def test_a_token_and_a_lora_know_their_base_and_diffusers_loads_them(first_layout):
    pipe = StableDiffusionPipeline.from_pretrained(first_layout / "backbone", safety_checker=None)
    check_base(first_layout / "lora", unet=pipe.unet, text_encoder=pipe.text_encoder)
    parts = {"tokenizer": pipe.tokenizer, "text_encoder": pipe.text_encoder}
    assert load_token(first_layout / "token", unet=pipe.unet, **parts) == "<watercolor>"
    pipe.load_lora_weights(first_layout / "lora")
