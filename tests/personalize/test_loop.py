"""One loop for both methods: plain AdamW, resumed exactly, stopped when asked and before it spoils anything."""

import json
import os
import signal
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tadp_personalize import DreamBoothConfig, LoraConfig, TextualInversionConfig, dreambooth, textual_inversion
from tadp_personalize.io.pipeline_parts import frozen, load_base
from tadp_personalize.methods.textual_inversion import token_learner
from tadp_personalize.prompts import fill
from tadp_personalize.run import image_source
from tadp_personalize.training.loop import DivergedError
from tadp_personalize.training.loss import DenoisingLoss
from tadp_personalize.training.lr_schedule import learning_rate
from tadp_personalize.training.sampler import Batches

pytestmark = pytest.mark.numerical

SMALL = {"batch_size": 2, "learning_rate": 3e-3, "save_every": 2, "schedule": "cosine", "warmup": 2}
METHODS = {
    "token": (textual_inversion, TextualInversionConfig(steps=6, accumulate=2, vectors=2, **SMALL)),
    "full": (dreambooth, DreamBoothConfig(steps=6, train_text_encoder=True, cache_latents=True, **SMALL)),
    "lora": (dreambooth, DreamBoothConfig(steps=6, lora=LoraConfig(rank=2), train_text_encoder=True, **SMALL)),
}


def weights_of(result):
    if result.path.is_file():
        return load_file(result.path)
    files = sorted(result.path.rglob("*.safetensors"))
    return {f"{file.parent.name}/{name}": tensor for file in files for name, tensor in load_file(file).items()}


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stop_at(step):
    def progress(done, steps, loss):
        if done == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return progress


@pytest.mark.parametrize("name", METHODS)
def test_n_and_resume_and_n_are_2n_on_the_same_machine(name, pipe, pictures, tmp_path):
    method, config = METHODS[name]
    whole = method(pipe, pictures, config=config, out=tmp_path / "whole")
    before = signal.getsignal(signal.SIGTERM)
    half = method(pipe, pictures, config=config, out=tmp_path / "parts", progress=stop_at(3))
    assert (half.finished, half.steps, half.path) == (False, 3, None)
    assert signal.getsignal(signal.SIGTERM) is before
    assert not (tmp_path / "parts" / "README.md").exists()
    rest = method(pipe, pictures, config=config, out=tmp_path / "parts", resume=True)
    expected, got = weights_of(whole), weights_of(rest)
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    steps = [[(line["step"], line["loss"], line["lr"]) for line in lines_of(r.folder)] for r in (whole, rest)]
    assert steps[0] == steps[1]


def test_updates_are_those_of_plain_adamw(pipe, pictures, tmp_path):
    """The loop on accelerate against a loop written out, with accumulation, clipping, decay and schedule."""
    config = TextualInversionConfig(steps=4, accumulate=3, max_grad_norm=1e-3, weight_decay=0.1, **SMALL)
    result = textual_inversion(pipe, pictures, config=config, out=tmp_path)
    base = load_base(pipe, copied=("text_encoder",))
    with frozen(base), token_learner(base, "<watercolor>", "watercolor", 1) as learner:
        prompts = [[fill(t, "<watercolor>") for t in config.templates]]
        source = image_source("images", base, pictures, prompts, config)
        batches = Batches(sources=(source,), batch_size=2, timesteps=1000, stratified=False, seed=0)
        rows = learner.learned.rows
        adam = torch.optim.AdamW([rows], lr=1.0, weight_decay=0.1)
        for step in range(4):
            adam.zero_grad()
            for k in range(3):
                (learner.objective(batches[3 * step + k]).mean() / 3).backward()
            rows.grad *= min(1.0, 1e-3 / rows.grad.norm().item())
            adam.param_groups[0]["lr"] = learning_rate(config, step)
            adam.step()
    torch.testing.assert_close(load_file(result.path)["<watercolor>"], rows.detach(), rtol=1e-5, atol=1e-6)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_last_good_state(pipe, pictures, tmp_path, monkeypatch):
    method, config = METHODS["token"][0], replace(METHODS["token"][1], accumulate=1)
    good = method(pipe, pictures, config=config, out=tmp_path / "good")
    forward, calls = DenoisingLoss.forward, []

    def spoilt(self, batch):
        calls.append(1)
        return forward(self, batch) * (float("nan") if len(calls) == 4 else 1.0)

    monkeypatch.setattr(DenoisingLoss, "forward", spoilt)
    with pytest.raises(DivergedError, match="step 4 is nan"):
        method(pipe, pictures, config=config, out=tmp_path / "bad")
    monkeypatch.undo()
    state = torch.load(tmp_path / "bad" / "state" / "state.pt", weights_only=True)
    assert state["step"] == 3
    rest = method(pipe, pictures, config=config, out=tmp_path / "bad", resume=True)
    assert all(torch.equal(weights_of(good)[key], value) for key, value in weights_of(rest).items())


def test_resuming_something_else_is_an_error(pipe, pictures, make_pictures, tmp_path):
    config = replace(METHODS["token"][1], steps=2)
    textual_inversion(pipe, pictures, config=config, out=tmp_path)
    with pytest.raises(ValueError, match=r"learning_rate was 0\.003, is now 0\.1"):
        textual_inversion(pipe, pictures, config=replace(config, learning_rate=0.1), out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="images was"):
        textual_inversion(pipe, make_pictures(4, seed=8), config=config, out=tmp_path, resume=True)
    with pytest.raises(ValueError, match="run of 2 steps"):
        textual_inversion(pipe, pictures, config=replace(config, steps=1, warmup=2), out=tmp_path, resume=True)


def test_a_new_run_in_an_old_folder_begins_anew(pipe, pictures, tmp_path):
    config = METHODS["token"][1]
    first = weights_of(textual_inversion(pipe, pictures, config=config, out=tmp_path))
    second = textual_inversion(pipe, pictures, config=config, out=tmp_path)
    assert len(lines_of(tmp_path)) == config.steps
    assert all(torch.equal(first[key], value) for key, value in weights_of(second).items())


@pytest.mark.parametrize("schedule", ["constant", "linear", "cosine"])
def test_learning_rate_rises_then_follows_its_schedule(schedule):
    config = TextualInversionConfig(steps=20, learning_rate=1.0, warmup=4, schedule=schedule)
    rates = [learning_rate(config, step) for step in range(20)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0]
    assert rates[12] == pytest.approx(1.0 if schedule == "constant" else 0.5)
    assert rates[4:] == sorted(rates[4:], reverse=True)
    assert rates[-1] > 0
