"""A captioner's folder that is damaged or would run code: one line that names it."""

import json
import shutil

import pytest
from damaged import SAFETENSORS, save_malice

from tadp_captioning import load_captioner


@pytest.fixture
def folder(blip2_folder, tmp_path):
    return shutil.copytree(blip2_folder, tmp_path / "blip2")


def refused(folder):
    with pytest.raises(ValueError, match=r"^captioner '[^\n]+ (cannot be read: |cannot load )[^\n]+$"):
        load_captioner(folder)


@pytest.mark.parametrize("damage", ["empty", "truncated", "header that is no UTF-8", "shape beyond all memory"])
def test_damaged_weights(folder, damage):
    (folder / "model.safetensors").write_bytes(SAFETENSORS[damage])
    refused(folder)


def test_a_pickle_runs_no_code(folder):
    (folder / "model.safetensors").unlink()
    save_malice(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match="any other could run code; use a complete folder"):
        load_captioner(folder)


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("config.json", {"text_config": 3}),
        ("config.json", {"num_query_tokens": "four"}),
        ("config.json", {"vision_config": {"num_hidden_layers": 10**6}}),
        ("config.json", {"num_query_tokens": 10**12}),
        ("config.json", {"model_type": ["blip-2"]}),
        ("processor_config.json", {"image_processor": 7}),
        ("tokenizer_config.json", {"added_tokens_decoder": 3}),
    ],
)
def test_values_of_wrong_types(folder, file, changes):
    values = json.loads((folder / file).read_text()) if (folder / file).is_file() else {}
    (folder / file).write_text(json.dumps(values | changes))
    refused(folder)
