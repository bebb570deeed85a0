"""VPD's prompt for NYUv2: each image by the embedding of the room that its path names."""

from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from tadp_backbone.text.conditioning import averaged_eos_context
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.error_analysis import examine_run
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.predict import PredictOptions, predict_images
from tadp_cli.pipelines.train import load_backbone, train
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_heads import PerceptionModel
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes

SCENES = {"sync": ("kitchen_0028b", "living_room_0019", "kitchen_0001"), "official_splits/test": ("living_room",)}


@pytest.fixture(scope="module")
def nyu(tmp_path_factory):
    """Scenes in NYUv2's folders."""
    root = tmp_path_factory.mktemp("nyu")
    write_scenes(root / "scenes", task="depth", domain="photo", split="all", count=4, seed=0)
    images = iter(sorted((root / "scenes" / "images").iterdir()))
    for split, scenes in SCENES.items():
        for scene in scenes:
            image, folder = next(images), root / split / scene
            folder.mkdir(parents=True)
            with Image.open(image) as picture:
                picture.save(folder / "rgb_00001.jpg")
            depth = root / "scenes" / "depth" / f"{image.stem}.png"
            (folder / "sync_depth_00001.png").write_bytes(depth.read_bytes())
    return root


def _recipe(nyu, *settings):
    data = (f"data.folder=nyuv2:{nyu}", "data.val=test", "prompt.kind=room-type", "backbone.attention_maps=false")
    return load_recipe(
        "scenes-depth", (*data, "train.steps=1", "train.batch_size=2", "head.fusion_channels=16", *settings)
    )


def test_an_image_gets_the_embedding_of_its_own_room(nyu):
    recipe = _recipe(nyu)
    backbone, dataset = load_backbone(recipe, "cpu"), open_data(recipe.data.folder, "depth", "train")
    prompts = Prompter(config=recipe.prompt).of_data(dataset, backbone, None)
    ids = [f"/{scene}/rgb_00001.jpg" for scene in SCENES["sync"]]
    context = prompts.context(backbone, ids)
    with torch.no_grad():
        rooms = averaged_eos_context(backbone, ["kitchen", "living room"])
    assert context.shape == (3, 1, rooms.shape[2])
    torch.testing.assert_close(context[:, 0], rooms[0][[0, 1, 0]])


def test_a_run_prompted_with_rooms_gives_the_unet_one_context_everywhere(nyu, tmp_path, monkeypatch):
    contexts, forward = {}, UNet2DConditionModel.forward

    def spy(self, *given, encoder_hidden_states, **named):
        contexts[path] = encoder_hidden_states[:1].detach().clone()  # the last one of each path
        return forward(self, *given, encoder_hidden_states=encoder_hidden_states, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", spy)
    path, run = "training", tmp_path / "run"
    results = train(_recipe(nyu, "backbone.text_adapter=true"), run)
    path = "eval"
    assert evaluate_run(run)["metrics"] == results["evaluations"][0]["metrics"]
    path, image = "predict", next(nyu.rglob("rgb_00001.jpg"))
    options, out = PredictOptions(caption="living room"), tmp_path / "out"
    done = predict_images(run, [str(image)], out, options, device="cpu", report=lambda *_: None)
    assert len(done.written) == 1
    path = "report"
    examine_run(run, 1, device="cpu", report=lambda *_: None)
    path = "Python"
    model = PerceptionModel.from_pretrained(run)
    context = Prompter.from_config(model.config.prompter).context(model.backbone, ["living room"])
    with Image.open(image) as picture:
        model.predict_batch([picture.convert("RGB")], context=context)
    for context in contexts.values():
        torch.testing.assert_close(context, contexts["training"])


def test_a_rooms_name_prompts_loose_images(nyu):
    recipe = _recipe(nyu)
    model = SimpleNamespace(backbone=load_backbone(recipe, "cpu"), context=None)
    _, context = prompted(Prompter.of(recipe), model, None, [None, None], ["living room", "kitchen"])
    with torch.no_grad():
        rooms = averaged_eos_context(model.backbone, ["living room", "kitchen"])
    torch.testing.assert_close(context[:, 0], rooms[0])


def test_images_of_no_room_are_refused(nyu):
    recipe = _recipe(nyu)
    folder = open_data(nyu / "scenes", "depth")
    with pytest.raises(ValueError, match=r"such as /bathroom/rgb_00045\.jpg, NYUv2's; '\w+' has none"):
        Prompter(config=recipe.prompt).of_data(folder, load_backbone(recipe, "cpu"), None)


def test_all_of_vpds_rows_of_table_3_are_recipes():
    for name, scale, steps in (("vpd", 1.0, 25225), ("vpd-ls", 0.0, 25225), ("fast-vpd", 1.0, 1009)):
        recipe = load_recipe(f"table-3/{name}")
        assert (recipe.prompt.kind, recipe.backbone.latent_scale, recipe.train.steps) == ("room-type", scale, steps)
        assert recipe.backbone.text_adapter
