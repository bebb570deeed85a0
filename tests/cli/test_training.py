"""The engine: schedule, sampling, resuming."""

import json
import shutil

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tadp_backbone.registry import BACKBONES
from tadp_cli.config.recipe import TrainConfig, load_recipe
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.train import train
from tadp_heads import PerceptionModel
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training import evaluate
from tadp_heads.training.lr_schedule import learning_rate_factor
from tadp_heads.training.sampler import pick

pytestmark = pytest.mark.numerical
WIDTH = BACKBONES["tiny"].levels[0][0]


def test_every_image_is_drawn_equally_often_and_half_are_mirrored():
    config = TrainConfig(batch_size=6, steps=100)
    picks = [pick(config, place, count=20) for place in range(600)]
    assert [index for index, _ in picks].count(7) == 30
    assert all({index for index, _ in picks[20 * e : 20 * (e + 1)]} == set(range(20)) for e in range(30))
    assert 0.4 < sum(mirrored for _, mirrored in picks) / len(picks) < 0.6
    assert not any(mirrored for _, mirrored in (pick(TrainConfig(flip=False), place, count=20) for place in range(16)))


def test_learning_rates_of_the_schedules():
    for schedule, middle, end in (("poly", 0.5, 0.01), ("cosine", 0.5, 0.000247), ("constant", 1.0, 1.0)):
        config = TrainConfig(steps=110, warmup=10, schedule=schedule)
        assert learning_rate_factor(0, config) == pytest.approx(0.1)
        assert learning_rate_factor(9, config) == pytest.approx(1.0)
        assert learning_rate_factor(60, config) == pytest.approx(middle)
        assert learning_rate_factor(109, config) == pytest.approx(end, rel=1e-2)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 6), ("val", 3)):
        write_scenes(root, task="segmentation", domain="photo", split=split, count=count, seed=0)
    return root


def _recipe(scenes, *settings):
    fixed = (
        f"data.folder={scenes}",
        "prompt.kind=oracle",
        "train.batch_size=2",
        "train.warmup=1",
        "train.save_every=2",
    )
    return load_recipe("scenes-segmentation", (*fixed, *settings))


@pytest.mark.parametrize(
    ("unet_lr_scale", "transform"),
    [
        (0.0, ()),
        pytest.param(0.1, (), marks=pytest.mark.slow),  # of all tasks in test_interruptions.py
        pytest.param(0.0, ("train.transform=user", "train.size=48"), marks=pytest.mark.slow),
    ],
)
def test_a_resumed_run_equals_one_that_was_never_stopped(tmp_path, scenes, unet_lr_scale, transform):
    """Stopped by a crash after step 2 of 4: weights, metrics end the same."""

    class CrashError(RuntimeError):
        pass

    def crash_after_two(what, done, total):
        if what == "train" and done == 3:
            raise CrashError

    recipe = _recipe(scenes, "train.steps=4", f"train.unet_lr_scale={unet_lr_scale}", *transform)
    whole = train(recipe, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(recipe, tmp_path / "parts", report=crash_after_two)
    parts = train(recipe, tmp_path / "parts", resume=True)
    assert parts == whole
    files = ["model.safetensors"] + ["backbone/unet/diffusion_pytorch_model.safetensors"] * (unet_lr_scale > 0)
    for name in files:
        first, second = load_file(tmp_path / "whole" / name), load_file(tmp_path / "parts" / name)
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_images_of_different_sizes_train_with_a_transform_and_are_refused_without(tmp_path, scenes):
    data = tmp_path / "data"
    shutil.copytree(scenes, data)
    for folder in ("images", "masks"):
        picture = data / folder / "train_00000.png"
        with Image.open(picture) as opened:
            wide = opened.resize((80, 64), Image.Resampling.NEAREST)
        wide.save(picture)
    with pytest.raises(ValueError, match=r"different sizes .* set train\.transform"):
        train(_recipe(data, "train.steps=3"), tmp_path / "refused")
    results = train(_recipe(data, "train.steps=3", "train.transform=user", "train.size=64"), tmp_path / "run")
    assert 0 <= results["evaluations"][0]["metrics"]["mIoU"] <= 1


def test_the_unet_changes_only_where_it_trains(tmp_path, scenes):
    from tadp_backbone import DiffusionBackbone

    shipped = DiffusionBackbone.from_pretrained("tiny").unet.state_dict()
    for scale, changed in ((0.0, False), (0.1, True)):
        out = tmp_path / str(scale)
        train(_recipe(scenes, "train.steps=1", f"train.unet_lr_scale={scale}"), out)
        trained = DiffusionBackbone.from_pretrained(out / "backbone").unet.state_dict()
        assert any(not torch.equal(shipped[key], trained[key]) for key in shipped) == changed
        # What is frozen is a reference to tiny.
        copied = [part for part in ("unet", "vae", "text_encoder") if (out / "backbone" / part).is_dir()]
        assert copied == (["unet"] if changed else [])
        assert json.loads((out / "backbone" / "reference.json").read_text())["source"] == "tiny"


def test_a_run_is_not_begun_over_another_and_not_resumed_with_other_settings(tmp_path, scenes):
    recipe = _recipe(scenes, "train.steps=1")
    train(recipe, tmp_path / "run")
    with pytest.raises(ValueError, match="holds a run already; add --resume"):
        train(recipe, tmp_path / "run")
    with pytest.raises(ValueError, match="was begun with other settings"):
        train(_recipe(scenes, "train.steps=2"), tmp_path / "run", resume=True)
    with pytest.raises(ValueError, match="no run to resume"):
        train(recipe, tmp_path / "other", resume=True)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [1]


def test_images_without_a_caption_are_named_before_anything_is_written(tmp_path, scenes):
    captions = tmp_path / "captions.jsonl"
    captions.write_text('{"id": "train_00000", "caption": "a star", "captioner": "x", "params": "", "source": ""}\n')
    recipe = _recipe(scenes, "prompt.kind=caption", f"data.captions={captions}")
    with pytest.raises(ValueError, match="has no caption for 5 of 6 images, such as 'train_00001'"):
        train(recipe, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_maps_by_class_go_with_the_run_and_do_not_shift_with_a_modifier(tmp_path, scenes):
    recipe = _recipe(scenes, "train.steps=2", "backbone.map_index=class")
    results = train(recipe, tmp_path / "run")
    model = PerceptionModel.from_pretrained(tmp_path / "run")
    assert model.backbone.config.class_words[0] == ("circles", "circle")
    assert model.head.config.levels[0].channels == WIDTH + len(model.backbone.config.class_words)
    assert evaluate_run(tmp_path / "run")["metrics"] == results["evaluations"][0]["metrics"]

    images = torch.rand(1, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        plain, moved = (model.backbone(images, model.encode_captions([t])) for t in ("a tree", "a photo of a big tree"))
    (tree,) = (i for i, words in enumerate(model.backbone.config.class_words) if "tree" in words)
    for features in (plain, moved):
        maps = features.levels[0][0, WIDTH:]
        assert maps[tree].max() > 0
        assert maps[torch.arange(len(maps)) != tree].abs().max() == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("prompt.kind=averaged-eos",), "needs a text prompt, and 'averaged-eos' is an embedding"),
        (("backbone.attention_maps=false",), "needs backbone.attention_maps"),
        (("train.cache=cache",), "train.cache keeps embeddings without their words"),
        (('backbone.map_words=["tree","tree"]',), "name each class once"),
        (("backbone.map_index=token", 'backbone.map_words=["tree"]'), "map_words needs backbone.map_index class"),
    ],
)
def test_maps_by_class_say_what_they_do_not_go_with(scenes, settings, message):
    with pytest.raises(ValueError, match=message):
        _recipe(scenes, "backbone.map_index=class", *settings)


def test_a_sampled_posterior_gives_an_evaluation_the_same_features_each_time(tmp_path, scenes):
    train(_recipe(scenes, "train.steps=1", "prompt.kind=empty", "backbone.posterior=sample"), tmp_path / "run")
    model, dataset = PerceptionModel.from_pretrained(tmp_path / "run"), open_folder(scenes, "segmentation", "val")
    seen = []
    model.backbone.register_forward_hook(lambda module, args, features: seen.append(features.levels[0]))
    for _ in range(2):
        evaluate(model, dataset)
    assert torch.equal(*seen)


def test_depth_gets_a_map_for_each_word_that_the_recipe_names(tmp_path):
    for split in ("train", "val"):
        write_scenes(tmp_path / "data", task="depth", domain="photo", split=split, count=2, seed=0, size=32)
    settings = [f"data.folder={tmp_path / 'data'}", "train.steps=1", "prompt.kind=empty", "head.fusion_channels=16"]
    recipe = load_recipe("scenes-depth", (*settings, "backbone.map_index=class"))
    with pytest.raises(ValueError, match=r"depth data has none: list some in backbone\.map_words"):
        train(recipe, tmp_path / "refused")
    results = train(recipe.replace(**{"backbone.map_words": ("tree", "star")}), tmp_path / "run")
    model = PerceptionModel.from_pretrained(tmp_path / "run")
    assert [words[-1] for words in model.backbone.config.class_words] == ["tree", "star"]
    assert model.head.config.levels[0].channels == WIDTH + 2
    assert evaluate_run(tmp_path / "run")["metrics"] == results["evaluations"][0]["metrics"]
