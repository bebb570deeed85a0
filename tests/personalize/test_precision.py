"""Mixed precision: the networks are lighter, trained parameters stay in float32."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file

from tadp_personalize import DreamBoothConfig, LoraConfig, TextualInversionConfig, dreambooth, textual_inversion
from tadp_personalize.io.pipeline_parts import load_base
from tadp_personalize.training.loop import make_accelerator

SMALL = {"steps": 3, "batch_size": 2, "learning_rate": 1e-3, "held_out_timesteps": 2}
METHODS = {
    "token": (textual_inversion, TextualInversionConfig(accumulate=2, **SMALL)),
    "full": (dreambooth, DreamBoothConfig(**SMALL)),
    "lora": (dreambooth, DreamBoothConfig(lora=LoraConfig(rank=2), **SMALL)),
}


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_comes_near_to_float32(name, folder, pictures, make_pictures, tmp_path):
    method, config = METHODS[name]
    results = {}
    for precision in ("no", "bf16"):
        out = tmp_path / precision
        chosen = replace(config, mixed_precision=precision, cpu=True)
        results[precision] = method(str(folder), pictures, config=chosen, out=out, held_out=make_pictures(2, seed=3))
    single, half = results["no"], results["bf16"]
    for kind, loss in single.after.items():
        assert half.after[kind] == pytest.approx(loss, rel=0.02)
    assert half.after != single.after  # it did compute in another precision
    if half.path.is_file():
        assert all(tensor.dtype == torch.float32 for tensor in load_file(half.path).values())


def test_a_folder_is_loaded_light_but_for_what_trains(folder):
    base = load_base(str(folder), dtype=torch.bfloat16, full_precision=("unet",))
    assert (base.unet.dtype, base.vae.dtype, base.text_encoder.dtype) == (torch.float32, torch.bfloat16, torch.bfloat16)


def test_the_process_keeps_its_accelerator_state_unless_another_is_asked_for():
    config = TextualInversionConfig(cpu=True)
    state = make_accelerator(config).state
    state.mark = "mine"
    assert make_accelerator(replace(config, accumulate=2)).state.mark == "mine"
    half = make_accelerator(replace(config, mixed_precision="bf16"))
    assert half.mixed_precision == "bf16"
    assert not hasattr(half.state, "mark")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_one_process_goes_from_the_cpu_to_the_gpu_and_back():
    for cpu in (True, False, True):
        assert make_accelerator(TextualInversionConfig(cpu=cpu)).device.type == ("cpu" if cpu else "cuda")
