"""Whatever is wrong with a file, the backbone says so in one line that names it; no pickle runs code."""

import json
import shutil

import pytest
import torch
from damaged import SAFETENSORS, save_malice
from safetensors.torch import save_file

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_backbone._read_errors import reading
from tadp_backbone.io.schema import check_fields
from tadp_backbone.registry import TINY_FOLDER
from tadp_backbone.text.cache import kept


def refused(call, name):
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        call()
    assert name in str(caught.value)


@pytest.fixture(scope="module")
def backbone():
    return DiffusionBackbone.from_pretrained("tiny")


@pytest.mark.parametrize("damage", SAFETENSORS)
def test_damaged_tensors_are_refused_wherever_they_are_read(backbone, tmp_path, damage):
    (tmp_path / "w.safetensors").write_bytes(SAFETENSORS[damage])
    refused(lambda: backbone.load_tokens(tmp_path / "w.safetensors"), "w.safetensors")
    refused(lambda: backbone.load_lora(tmp_path / "w.safetensors"), "w.safetensors")
    refused(lambda: backbone.load_unet(tmp_path / "w.safetensors"), "w.safetensors")
    refused(lambda: DiffusionBackbone.from_pretrained(tmp_path / "w.safetensors"), "w.safetensors")


def test_a_damaged_entry_of_the_cache_is_computed_again(tmp_path):
    (tmp_path / "entry.safetensors").write_bytes(SAFETENSORS["truncated"])
    made = kept(tmp_path / "entry.safetensors", lambda: {"context": torch.ones(2)})
    assert made["context"].tolist() == [1, 1]
    assert kept(tmp_path / "entry.safetensors", lambda: pytest.fail("it is there"))["context"].tolist() == [1, 1]


@pytest.fixture
def tiny(tmp_path):
    """A copy of the tiny backbone's folder, to be damaged."""
    return shutil.copytree(TINY_FOLDER, tmp_path / "tiny")


@pytest.mark.parametrize("part", ["text_encoder", "unet"])
@pytest.mark.parametrize("weights", ["truncated", "pickle"])
def test_damaged_weights_of_a_folder_are_refused(tiny, part, weights):
    (file,) = (tiny / part).glob("*.safetensors")
    if weights == "pickle":
        file.unlink()
        save_malice(file.with_name({"unet": "diffusion_pytorch_model.bin"}.get(part, "pytorch_model.bin")))
    else:
        file.write_bytes(SAFETENSORS[weights])
    refused(lambda: DiffusionBackbone.from_pretrained(tiny), f"tiny/{part}")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("unet/config.json", {"block_out_channels": "32"}),
        ("unet/config.json", {"layers_per_block": None}),
        ("unet/config.json", {"down_block_types": ["Nope"]}),
        ("text_encoder/config.json", {"hidden_size": "wide"}),
        ("text_encoder/config.json", {"num_attention_heads": 0}),
        ("vae/config.json", {"block_out_channels": {"a": 1}}),
        ("scheduler/scheduler_config.json", {"beta_schedule": 7}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}),
        ("tokenizer/tokenizer_config.json", {"model_max_length": [1], "added_tokens_decoder": 3}),
        ("config.json", {"timestep": "1"}),
        ("config.json", {"noise": "false"}),
        ("config.json", {"map_strides": 16}),
        ("config.json", {"latent_scale": float("nan")}),
        ("config.json", {"class_words": [["a"], 3]}),
    ],
)
def test_values_of_wrong_types_are_refused_with_their_file(tiny, file, changes):
    values = json.loads((tiny / file).read_text())
    (tiny / file).write_text(json.dumps(values | changes))
    refused(lambda: DiffusionBackbone.from_pretrained(tiny), str(file).rpartition("/")[0] or "config.json")


@pytest.mark.parametrize(
    ("file", "changes"),
    [
        ("unet/config.json", {"layers_per_block": 10**6}),
        ("unet/config.json", {"cross_attention_dim": 10**12}),
        ("text_encoder/config.json", {"num_hidden_layers": 10**6}),
        ("vae/config.json", {"block_out_channels": [10**9, 10**9, 10**9]}),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 10**9}),
        ("config.json", {"learnt_context": 10**30}),
    ],
)
def test_sizes_that_no_model_has_are_refused_at_once(tiny, file, changes):
    values = json.loads((tiny / file).read_text())
    (tiny / file).write_text(json.dumps(values | changes))
    ((name, _),) = changes.items()
    with pytest.raises(ValueError, match=rf"^[^\n]*{name}[^\n]* expected [^\n]*at most \d+[^\n]*$"):
        DiffusionBackbone.from_pretrained(tiny)


def test_weights_that_memory_does_not_hold_are_no_malformed_file():
    with (
        pytest.raises(RuntimeError, match=r"^unet needs more memory than is available: .* 9 bytes"),
        reading("unet", "take another"),
    ):
        raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes.")


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe", b"{", b"[" * 100_000, b"1" * 5000])
def test_a_config_that_is_no_object_of_json_is_refused(tiny, content):
    (tiny / "config.json").write_bytes(content)
    refused(lambda: DiffusionBackbone.from_pretrained(tiny), "config.json")


def test_a_peft_lora_of_wrong_types_is_refused(backbone, tmp_path):
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": "x", "target_modules": 3}')
    save_file({"a": torch.zeros(2)}, tmp_path / "adapter_model.safetensors")
    refused(lambda: backbone.load_lora(tmp_path), tmp_path.name)


def test_every_setting_that_may_be_given_fits_its_type():
    check_fields(
        BackboneConfig, {"map_strides": [16], "latent_scale": 1, "taps": None, "class_words": [["a", "b"]]}, "x"
    )
    for wrong in ({"timestep": True}, {"posterior": "mean"}, {"latent_scale": "1"}, {"map_strides": [1.5]}):
        refused(lambda wrong=wrong: check_fields(BackboneConfig, wrong, "x"), "x: ")
