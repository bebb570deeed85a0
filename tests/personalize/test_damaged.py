"""Tokens, states and base models that are damaged or would run code: one line that names the file."""

import dataclasses
import json
import shutil

import pytest
import torch
from damaged import SAFETENSORS, save_malice
from diffusers import AutoencoderTiny
from safetensors.torch import save_file

from tadp_personalize.io.pipeline_parts import load_base, scheduler_class
from tadp_personalize.io.tokens import base_of, load_token
from tadp_personalize.training.checkpoint import STATE_FILE, load_state


def refused(call, name):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call()
    assert name in str(caught.value)


@pytest.mark.parametrize("damage", SAFETENSORS)
def test_damaged_tokens_are_named(tmp_path, damage):
    (tmp_path / "t.safetensors").write_bytes(SAFETENSORS[damage])
    refused(lambda: load_token(tmp_path / "t.safetensors", tokenizer=None, text_encoder=None), "t.safetensors")
    if damage != "dtype that torch lacks":  # of which the header alone is read
        refused(lambda: base_of(tmp_path / "t.safetensors"), "t.safetensors")


@pytest.mark.parametrize("shape", [(), (1, 2, 3), (0, 96)])
def test_tensors_that_are_no_vectors_are_named(tmp_path, shape):
    save_file({"<x>": torch.zeros(shape)}, tmp_path / "t.safetensors")
    refused(lambda: load_token(tmp_path / "t.safetensors", tokenizer=None, text_encoder=None), "t.safetensors")


@pytest.mark.parametrize("content", ["[]", "{}", '{"base": 3}', "{", '{"base": {"identity"'])
def test_a_card_that_is_none_is_named(tmp_path, content):
    (tmp_path / "personalization.json").write_text(content)
    refused(lambda: base_of(tmp_path), "personalization.json")


@pytest.mark.parametrize("state", ["pickle", b"", [1], {"settings": 3}, {"settings": {}, "step": 1}])
def test_a_state_that_is_none_is_named(tmp_path, state):
    file = tmp_path / STATE_FILE
    file.parent.mkdir()
    if state == "pickle":
        save_malice(file)
    elif isinstance(state, bytes):
        file.write_bytes(state)
    else:
        torch.save(state, file)
    parameter = torch.nn.Parameter(torch.zeros(1))
    kept = {"trained": {"a": parameter}, "optimizer": torch.optim.SGD([parameter]), "scaler": None}
    refused(lambda: load_state(tmp_path, settings={}, **kept), "state.pt cannot be read")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("unet/config.json", {"block_out_channels": "8"}),
        ("text_encoder/config.json", {"hidden_size": "wide"}),
        ("scheduler/scheduler_config.json", {"beta_start": "low"}),
        ("tokenizer/tokenizer_config.json", {"added_tokens_decoder": 3}),
        ("unet/config.json", {"layers_per_block": 10**6}),
        ("text_encoder/config.json", {"num_hidden_layers": 10**6}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}),
    ],
)
def test_a_base_with_values_of_wrong_types_or_sizes_is_named(folder, tmp_path, file, changes):
    base = shutil.copytree(folder, tmp_path / "base")
    values = json.loads((base / file).read_text())
    (base / file).write_text(json.dumps(values | changes))
    refused(lambda: load_base(base), str(base / file.partition("/")[0]))


@pytest.mark.parametrize(
    "index", [{}, {"scheduler": 3}, {"scheduler": ["a", "StableDiffusionPipeline"]}, {"scheduler": []}]
)
def test_an_index_names_a_scheduler_or_is_refused(folder, tmp_path, index):
    base = shutil.copytree(folder, tmp_path / "base")
    known = json.loads((base / "model_index.json").read_text())
    known.pop("scheduler")
    (base / "model_index.json").write_text(json.dumps(known | index))
    refused(lambda: load_base(base), "base/scheduler cannot be read")


def test_a_base_whose_encoder_has_no_posterior_is_refused(folder, tmp_path):
    base = shutil.copytree(folder, tmp_path / "base")
    index = json.loads((base / "model_index.json").read_text())
    (base / "model_index.json").write_text(json.dumps(index | {"vae": ["diffusers", "AutoencoderTiny"]}))
    parts = load_base(folder)
    parts = dataclasses.replace(parts, vae=AutoencoderTiny())
    for given in (base, parts):
        refused(lambda given=given: load_base(given), "draws latents from the full VAE's posterior")


def test_no_other_class_of_diffusers_is_taken_for_a_scheduler():
    with pytest.raises(ValueError, match="UNet2DModel is no scheduler"):
        scheduler_class({"scheduler": ["diffusers", "UNet2DModel"]})
