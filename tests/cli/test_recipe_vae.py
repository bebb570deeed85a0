"""`backbone.vae` of a recipe: a run made with an encoder in the VAE's place is predicted and evaluated with it."""

from dataclasses import replace

import pytest
import torch
from diffusers import AutoencoderTiny
from torch.testing import assert_close

from tadp_backbone import BACKBONES, DiffusionBackbone
from tadp_cli.config.recipe import load_recipe
from tadp_cli.inputs.prerequisites import missing_weights
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.inference_cost import costs_of
from tadp_cli.pipelines.predict import PredictOptions, predict_images
from tadp_cli.pipelines.train import train
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import write_scenes


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """An untrained one for the tiny model, as the package has it: of the table's name "taesd", in half precision."""
    torch.manual_seed(3)
    widths, blocks = (8, 8, 8), (1, 1, 1)
    model = AutoencoderTiny(
        encoder_block_out_channels=widths,
        decoder_block_out_channels=widths,
        num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
    )
    folder = tmp_path_factory.mktemp("encoder")
    model.half().save_pretrained(folder)
    return folder


@pytest.fixture
def shipped(encoder, monkeypatch):
    monkeypatch.setitem(BACKBONES, "tiny", replace(BACKBONES["tiny"], taesd_folder=encoder))


def test_a_run_is_trained_evaluated_and_predicted_with_its_encoder(shipped, encoder, tmp_path):
    for split in ("train", "val"):
        write_scenes(tmp_path / "data", task="segmentation", domain="photo", split=split, count=2, seed=0, size=32)
    settings = ("train.steps=1", "train.batch_size=1", "prompt.kind=class-names", "backbone.latent_scale=1")
    recipe = load_recipe("scenes-segmentation", (f"data.folder={tmp_path / 'data'}", "backbone.vae=taesd", *settings))
    results = train(recipe, tmp_path / "run")
    assert evaluate_run(tmp_path / "run")["metrics"] == results["evaluations"][0]["metrics"]
    model = PerceptionModel.from_pretrained(tmp_path / "run")
    image = torch.rand(1, 3, 32, 32)
    full = DiffusionBackbone.from_pretrained("tiny")
    expected = AutoencoderTiny.from_pretrained(encoder).float().encode(image).latents / full.vae.config.scaling_factor
    assert_close(model.backbone.encode_image(image), expected)
    model.backbone.use_vae(full.vae)  # the head as it was trained, on the other encoder
    assert_close(model.backbone.encode_image(image), full.vae.encode(image).latent_dist.mode())
    images, options = [str(tmp_path / "data" / "images" / "val_00000.png")], PredictOptions()
    done = predict_images(tmp_path / "run", images, tmp_path / "out", options, device="cpu", report=lambda *_: None)
    assert (len(done.written), done.failed) == (1, {})


def test_its_costs_and_weights_are_counted(shipped, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    recipe = load_recipe("scenes-segmentation", ("prompt.kind=class-names",))
    own, full = costs_of(recipe.replace(**{"backbone.vae": "taesd"})), costs_of(recipe)
    assert 10 * own.parameters["vae"] < full.parameters["vae"]
    assert own.multiply_adds["vae"] < full.multiply_adds["vae"]
    needed = list(missing_weights(recipe.replace(**{"backbone.source": "sd15", "backbone.vae": "taesd"})))
    assert "weights of taesd (`tadp fetch taesd`)" in needed
    assert not list(missing_weights(recipe.replace(**{"backbone.vae": "taesd"})))


def test_what_it_cannot_do_is_said_before_anything_is_loaded():
    for name, settings in (("scenes-segmentation", ("backbone.posterior=sample",)), ("voc2012", ())):
        with pytest.raises(ValueError, match=r"backbone.vae 'taesd' has no posterior to sample"):
            load_recipe(name, ("backbone.vae=taesd", *settings))
