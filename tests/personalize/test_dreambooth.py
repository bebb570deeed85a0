"""What DreamBooth changes, and that its files give the trained model back."""

import json
from importlib.util import find_spec

import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image

from tadp_personalize import DreamBoothConfig, LoraConfig, check_base, dreambooth
from tadp_personalize.held_out import HeldOutLoss
from tadp_personalize.io.pipeline_parts import load_base
from tadp_personalize.methods.dreambooth import tuning_learner
from tadp_personalize.training.latents import ImageLatents
from tadp_personalize.training.loss import DenoisingLoss

SMALL = {"steps": 8, "batch_size": 4, "learning_rate": 2e-3, "cache_latents": True, "held_out_timesteps": 4}


def denoise(pipe, prompt="a sks style painting"):
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return pipe.unet(latents, torch.tensor([300]), pipe.encode_prompt(prompt, "cpu", 1, False)[0]).sample


@pytest.mark.parametrize("text", [False, True])
def test_the_written_pipeline_is_the_tuned_model(folder, pictures, make_pictures, tmp_path, text):
    unseen = make_pictures(2, seed=3)
    config = DreamBoothConfig(train_text_encoder=text, **SMALL)
    result = dreambooth(str(folder), pictures, config=config, out=tmp_path, held_out=unseen)
    before = StableDiffusionPipeline.from_pretrained(folder)
    after = StableDiffusionPipeline.from_pretrained(result.path)
    assert result.after["learnt"] < result.before["learnt"]  # the random model knows nothing: it learns from any image
    for part, changes in (("unet", True), ("vae", False), ("text_encoder", text)):
        pairs = zip(getattr(before, part).parameters(), getattr(after, part).parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs) is changes, part
    tuned = [after.unet, after.text_encoder] if text else [after.unet]
    assert result.trained_parameters == sum(p.numel() for module in tuned for p in module.parameters())
    assert json.loads((tmp_path / "results.json").read_text())["held_out"]["after"] == result.after


def test_only_the_named_layers_train(pipe, pictures, tmp_path):
    config = DreamBoothConfig(unet_layers=("attn2.to_k", "attn2.to_v"), **SMALL)
    result = dreambooth(pipe, pictures, config=config, out=tmp_path)
    before = pipe.unet.state_dict()
    after = StableDiffusionPipeline.from_pretrained(result.path).unet.state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {name for name in before if "attn2.to_k" in name or "attn2.to_v" in name} != set()
    assert result.trained_parameters == sum(before[name].numel() for name in changed)
    with pytest.raises(ValueError, match="no layer's name in UNet2DConditionModel ends with attn9"):
        dreambooth(pipe, pictures, config=DreamBoothConfig(unet_layers=("attn9",)), out=tmp_path)


@pytest.mark.parametrize("text", [False, True])
def test_the_lora_loads_into_diffusers_and_merges(pipe, make_pipeline, pictures, make_pictures, tmp_path, text):
    unseen = make_pictures(2, seed=3)
    config = DreamBoothConfig(lora=LoraConfig(rank=2, alpha=6.0), train_text_encoder=text, **SMALL)
    result = dreambooth(pipe, pictures, config=config, out=tmp_path, held_out=unseen)
    plain, loaded = make_pipeline(), make_pipeline()
    check_base(result.path, unet=loaded.unet, text_encoder=loaded.text_encoder)
    loaded.load_lora_weights(str(tmp_path))
    apart = denoise(loaded)
    assert (apart - denoise(plain)).abs().max() > 1e-4
    base = load_base(loaded)
    latents = ImageLatents(unseen, base.vae, size=16, flip=0.0, crop="center", cache=False).modes()
    words = {"templates": config.templates, "captions": ["", ""], "token": "sks", "word": "watercolor"}
    held_out = HeldOutLoss.build(latents=latents, count=4, train_timesteps=1000, seed=0, **words)
    losses = held_out(DenoisingLoss(base.unet, base.text_encoder, base.noise_schedule()), base.tokenizer)
    assert losses == pytest.approx(result.after, rel=1e-5)  # alpha, which is not the rank, came along
    loaded.fuse_lora()
    loaded.unload_lora_weights()
    torch.testing.assert_close(denoise(loaded), apart, rtol=1e-4, atol=1e-5)


def test_a_new_lora_changes_nothing_and_has_its_size(pipe):
    expected = denoise(pipe)
    base = load_base(pipe, copied=("unet",))
    for module in base.modules():
        module.requires_grad_(False)
    learner = tuning_learner(base, DreamBoothConfig(lora=LoraConfig(rank=3)))
    torch.testing.assert_close(denoise(base.pipeline()), expected)
    layers = [m for n, m in pipe.unet.named_modules() if n.endswith(("to_q", "to_k", "to_v", "to_out.0"))]
    assert sum(p.numel() for p in learner.trained.values()) == sum(3 * (m.in_features + m.out_features) for m in layers)
    assert {id(p) for p in learner.trained.values()} == {id(p) for p in base.unet.parameters() if p.requires_grad}


def size_of(path):
    with Image.open(path) as image:
        return image.size


def test_class_images_are_the_models_own_and_are_kept(pipe, pictures, tmp_path):
    config = DreamBoothConfig(class_images=3, class_prompt="a picture", **(SMALL | {"steps": 1}))
    seen = []
    dreambooth(pipe, pictures, config=config, out=tmp_path, progress=lambda step, steps, loss: seen.append(loss))
    files = sorted((tmp_path / "class_images").glob("*.png"))
    times = [file.stat().st_mtime_ns for file in files]
    assert [size_of(f) for f in files] == [(16, 16)] * 3
    dreambooth(pipe, pictures, config=config, out=tmp_path, progress=lambda step, steps, loss: seen.append(loss))
    assert [file.stat().st_mtime_ns for file in files] == times
    assert seen[0] == seen[1]
    other = DreamBoothConfig(class_images=3, class_prompt="a comic", **(SMALL | {"steps": 1}))
    dreambooth(pipe, pictures, config=other, out=tmp_path)
    assert [file.stat().st_mtime_ns for file in files] != times


def test_prior_weight_scales_the_class_images_share(pipe, pictures, tmp_path):
    losses = []
    for weight in (0.0, 1.0, 3.0):
        config = DreamBoothConfig(class_images=3, prior_weight=weight, **(SMALL | {"steps": 1}))
        dreambooth(pipe, pictures, config=config, out=tmp_path, progress=lambda step, steps, loss: losses.append(loss))
    share = losses[1] - losses[0]
    assert share > 0
    assert losses[2] == pytest.approx(losses[0] + 3 * share, rel=1e-5)


def test_checkpointing_changes_memory_only(pipe, pictures, tmp_path):
    losses = []
    for checkpointing in (False, True):
        config = DreamBoothConfig(gradient_checkpointing=checkpointing, **(SMALL | {"steps": 3}))
        run = []
        dreambooth(pipe, pictures, config=config, out=tmp_path, progress=lambda s, n, loss, run=run: run.append(loss))
        losses.append(run)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_eight_bit_adam_without_bitsandbytes_says_so(pipe, pictures, tmp_path):
    if find_spec("bitsandbytes"):
        pytest.skip("bitsandbytes is installed")
    with pytest.raises(ValueError, match="pip install bitsandbytes"):
        dreambooth(pipe, pictures, config=DreamBoothConfig(adam_8bit=True, **SMALL), out=tmp_path)


def test_sample_sheets(pipe, pictures, tmp_path):
    config = DreamBoothConfig(sample_every=1, **(SMALL | {"steps": 1}))
    dreambooth(pipe, pictures, config=config, out=tmp_path)
    sheets = {path.name: size_of(path) for path in (tmp_path / "samples").iterdir()}
    assert set(sheets) == {"step-000001.png", "final.png"}
    assert sheets["final.png"] == (4 * 16, 3 * 16)
