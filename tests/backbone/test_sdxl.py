"""Stable Diffusion XL's UNet: texts as diffusers encodes them, features and maps of its pass, any folder of its own."""

import pytest
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from sdxl import POOLED, narrow_sdxl
from torch.testing import assert_close

from tadp_backbone import DiffusionBackbone, record_cross_attention
from tadp_backbone.recording import record_outputs
from tadp_backbone.summary import describe


def pipeline_of(backbone):
    return StableDiffusionXLPipeline(
        vae=backbone.vae,
        text_encoder=backbone.text_encoder,
        text_encoder_2=backbone.text_encoder_2,
        tokenizer=backbone.tokenizer,
        tokenizer_2=backbone.tokenizer_2,
        unet=backbone.unet,
        scheduler=EulerDiscreteScheduler(),
    )


def test_texts_and_features_are_those_of_the_published_pipeline():
    """diffusers' own encoding of the prompt and its arguments of the UNet, for an image of 40 x 72 pixels."""
    backbone = narrow_sdxl()
    text = "a ring and a tree"
    context = backbone.encode_text([text])
    assert context.shape == (1, 78, 40)
    expected, _, pooled, _ = pipeline_of(backbone).encode_prompt(text, do_classifier_free_guidance=False)
    assert_close(context[:, :-1], expected)
    assert_close(context[:, -1, :POOLED], pooled)

    images = torch.rand(1, 3, 40, 72, generator=torch.Generator().manual_seed(1)) * 2 - 1
    with torch.no_grad():
        features = backbone(images, context)
        padded = torch.nn.functional.pad(images, (0, 24, 0, 24))
        latents = backbone.encode_image(padded)
        given = {"text_embeds": pooled, "time_ids": torch.tensor([[64.0, 96.0, 0.0, 0.0, 64.0, 96.0]])}
        paths = [tap.path for tap in backbone.taps]
        with record_outputs(backbone.unet, paths) as outputs, record_cross_attention(backbone.unet) as maps:
            backbone.unet(latents, torch.tensor([1]), encoder_hidden_states=expected, added_cond_kwargs=given)
    assert_close(features.levels[0], outputs[paths[0]][..., :5, :9])
    assert [level.channels for level in backbone.levels] == [8, 16 + 77, 16 + 77]
    assert [level.shape[1] for level in features.levels] == [8, 16 + 77, 16 + 77]
    coarse = torch.stack([maps[path] for path in backbone.map_layers[32]]).mean(0)
    assert_close(features.attention[32], coarse.mT.reshape(1, 77, 2, 3)[..., :2, :3])


def test_a_saved_model_reads_back_here_and_in_diffusers(tmp_path):
    backbone = narrow_sdxl(class_words=(("ring",), ("tree",)))
    backbone.save_pretrained(tmp_path)
    again = DiffusionBackbone.from_pretrained(tmp_path)
    context = again.encode_text(["a tree"])
    assert_close(context, backbone.encode_text(["a tree"]))
    features = again(torch.zeros(1, 3, 32, 32), context)
    assert features.levels[1].shape[1] == 16 + 2
    StableDiffusionXLPipeline.from_pretrained(tmp_path, local_files_only=True)
    parts = describe(again, 64).parameters
    assert set(parts) == {"unet", "vae", "text_encoder", "text_encoder_2"}


def test_what_is_for_one_text_encoder_is_refused(tmp_path):
    backbone = narrow_sdxl()
    with pytest.raises(ValueError, match="SDXL has two"):
        backbone.encode_text(["a tree"], long="chunk")
    with pytest.raises(ValueError, match="SDXL has two"):
        backbone.load_tokens(tmp_path)
    with pytest.raises(ValueError, match="text_adapter"):
        narrow_sdxl(text_adapter=True)


def test_cleandift_is_another_unet_in_a_known_model(make_backbone, tmp_path, monkeypatch):
    """From the hub's cache: the pipeline of the base, and the file of the UNet from its own repository."""
    from hashlib import sha1

    from safetensors.torch import save_file

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))

    def snapshot(repository):
        root = tmp_path / f"models--{repository.replace('/', '--')}"
        commit = sha1(repository.encode()).hexdigest()
        (root / "refs").mkdir(parents=True)
        (root / "refs" / "main").write_text(commit)
        (root / "snapshots" / commit).mkdir(parents=True)
        return root / "snapshots" / commit

    make_backbone(text=True, vae=True).save_pretrained(snapshot("sd-legacy/stable-diffusion-v1-5"))
    with pytest.raises(FileNotFoundError, match="tadp fetch cleandift-sd15"):
        DiffusionBackbone.from_pretrained("cleandift-sd15", offline=True)
    other = make_backbone(seed=3).unet
    save_file(other.state_dict(), snapshot("CompVis/cleandift") / "cleandift_sd15_unet.safetensors")
    backbone = DiffusionBackbone.from_pretrained("cleandift-sd15", offline=True)
    assert_close(backbone.unet.conv_in.weight, other.conv_in.weight)
