"""In which precision a backbone computes: decided by the device and the model's size, never by the clock."""

import pytest
import torch

from tadp_backbone import precision
from tadp_backbone.precision import is_small, resolve_precision
from tadp_backbone.registry import TINY_FOLDER


@pytest.fixture
def gpu(monkeypatch):
    """A machine whose GPU has this compute capability."""

    def set_capability(major: int, minor: int = 0) -> None:
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device=None: (major, minor))
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "NVIDIA Test")

    return set_capability


@pytest.fixture
def cpu(monkeypatch):
    """A machine whose CPU has instructions for bfloat16, or none."""
    return lambda has: monkeypatch.setattr(precision, "cpu_computes_bf16", lambda: has)


@pytest.mark.parametrize(
    ("major", "inference", "training"),
    [(9, "bf16", "bf16"), (8, "bf16", "bf16"), (7, "fp16", "fp32"), (6, "fp32", "fp32")],
)
def test_auto_is_what_the_gpu_computes_in(gpu, major, inference, training):
    gpu(major)
    assert resolve_precision("auto", "cuda").name == inference
    assert resolve_precision("auto", "cuda:0", training=True).name == training
    assert f"NVIDIA Test ({major}.0)" in str(resolve_precision("auto", "cuda"))


def test_auto_on_a_cpu_follows_its_instructions_and_the_models_size(cpu):
    cpu(True)
    assert str(resolve_precision("auto", "cpu")) == "bf16 (this CPU has instructions for it)"
    assert str(resolve_precision("auto", "cpu", small=True)) == "fp32 (a small model on a CPU)"
    cpu(False)
    assert str(resolve_precision("auto", "cpu")) == "fp32 (this CPU has no instructions for bf16)"
    assert "slower than fp32 on this CPU" in resolve_precision("bf16", "cpu").why


@pytest.mark.parametrize(
    ("amx", "avx512", "expected"), [(True, False, True), (False, True, True), (False, False, False)]
)
def test_torch_is_asked_what_an_x86_cpu_can_do(monkeypatch, amx, avx512, expected):
    monkeypatch.setattr(precision.platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: avx512)
    assert precision.cpu_computes_bf16.__wrapped__() is expected


def test_other_cpus_are_tried(monkeypatch):
    monkeypatch.setattr(precision.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(precision, "_product_seconds", lambda dtype: 1.0 if dtype == torch.float32 else 0.5)
    assert precision.cpu_computes_bf16.__wrapped__()


@pytest.mark.parametrize(
    ("asked", "device", "message"),
    [
        ("fp16", "cpu", "precision 'fp16' needs a GPU, and the device is cpu: choose fp32"),
        ("tf32", "cpu", r"'tf32' needs an NVIDIA GPU from Ampere on \(compute capability 8.0\), and the device is cpu"),
        (
            "bf16",
            "cuda",
            r"'bf16' needs an NVIDIA GPU from Ampere on .* the device is NVIDIA Test \(7.5\): choose fp32",
        ),
        ("fp8", "cpu", "unknown precision 'fp8'; choose from auto, fp32, tf32, bf16, fp16"),
    ],
)
def test_what_the_device_cannot_do_is_one_line(gpu, asked, device, message):
    gpu(7, 5)
    with pytest.raises(ValueError, match=message) as raised:
        resolve_precision(asked, device)
    assert "\n" not in str(raised.value)


def test_a_model_is_small_by_the_weights_of_its_unet(tmp_path):
    assert is_small("tiny")
    assert is_small(TINY_FOLDER)
    assert not is_small("sd15")
    (tmp_path / "unet").mkdir()
    with (tmp_path / "unet" / "diffusion_pytorch_model.safetensors").open("wb") as file:
        file.truncate(precision.SMALL_BYTES)
    assert not is_small(tmp_path)
    assert not is_small(tmp_path / "nothing")
