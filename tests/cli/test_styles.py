"""Training with prompts of styles drawn at random."""

import pytest
import torch
from safetensors.torch import load_file

from tadp_captioning import modify
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.train import build_model, load_backbone, train
from tadp_cli.prompts.builder import PromptContexts, with_styles
from tadp_cli.prompts.prompter import Prompter
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.training.dataset import LiveBatches, TrainingImages, features_of
from tadp_heads.training.features import CachedFeatures
from tadp_heads.training.sampler import draw_version

pytestmark = pytest.mark.numerical

STYLES = 'prompt.styles=["comic", "night"]'


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 3), ("val", 2)):
        write_scenes(root, task="segmentation", domain="photo+night", split=split, count=count, seed=0, size=32)
    return root


@pytest.fixture(scope="module")
def recipe(scenes):
    def make(*settings: str):
        small = ("head.variant=pascal", "head.width=64", "train.batch_size=2", "train.save_every=2", "train.steps=2")
        return load_recipe("scenes-segmentation", (f"data.folder={scenes}", "prompt.kind=oracle", *small, *settings))

    return make


@pytest.fixture(scope="module")
def live(recipe):
    """What micro-batches of a recipe contain."""

    def make(recipe):
        backbone = load_backbone(recipe, "cpu")
        dataset = open_data(recipe.data.folder, recipe.task, "train")
        plain = Prompter(config=recipe.of_training_prompts.prompt).of_data(dataset, backbone, None)
        prompts = with_styles(plain, recipe.prompt.styles)
        model = build_model(recipe, backbone, dataset, prompts)
        images = TrainingImages(dataset, recipe.train, prompts.versions)
        return LiveBatches(model, images, PromptContexts(prompts, backbone))

    return make


def test_versions_are_drawn_equally_often_and_anew_at_every_position(recipe):
    config = recipe(STYLES).train
    drawn = [draw_version(config, place, 3) for place in range(600)]
    assert drawn == [draw_version(config, place, 3) for place in range(600)]
    assert all(150 < drawn.count(version) < 250 for version in range(3))
    assert drawn != [draw_version(recipe(STYLES, "train.seed=1").train, place, 3) for place in range(600)]
    # An image comes back in every epoch, here of 20: its version is another then.
    assert all(len(set(drawn[place::20])) == 3 for place in range(20))


def test_a_version_is_the_prompt_under_a_style_and_the_target_s_modifier_is_for_testing(live, recipe):
    passes = live(recipe(STYLES, "prompt.modifier=simple", "prompt.domain=sketch"))
    prompts = passes.contexts.prompts
    assert prompts.versions == 3
    for key, text in prompts.texts.items():
        assert "style" not in text
        assert [styled[key] for styled in prompts.styled] == [modify(text, n, "simple") for n in ("comic", "night")]
    ids = list(prompts.texts)[:2]
    output = [prompts.texts[ids[0]], prompts.styled[1][ids[1]]]
    context = passes.contexts.context(ids, [0, 2])
    torch.testing.assert_close(context, passes.model.backbone.encode_text(output))


@pytest.mark.parametrize("workers", [0, 1])
def test_cached_and_live_passes_see_the_same_images_with_the_same_prompts(live, recipe, workers):
    passes = live(recipe(STYLES, f"train.workers={workers}"))
    cached = CachedFeatures(passes, lambda *_: None)
    places = [[0, 1], [2, 3], [4, 5]]
    for kept, fresh in zip(cached.batches(places), passes.batches(places), strict=True):
        assert len(kept.targets) == len(fresh.targets) == 2
        assert all(torch.equal(a, b) for a, b in zip(kept.targets, fresh.targets, strict=True))
        with torch.no_grad():
            levels = features_of(passes.model.backbone, fresh)
        for mine, other in zip(kept.levels, levels, strict=True):
            torch.testing.assert_close(mine, other, atol=5e-3, rtol=2e-3)  # kept in float16


def test_another_prompt_gives_other_features(live, recipe):
    passes = live(recipe(STYLES))
    item = passes.images[0]
    first, second = (features_of(passes.model.backbone, passes.batch([item._replace(version=v)])) for v in (0, 1))
    assert not any(torch.allclose(one, other, atol=5e-3) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("settings", [(), pytest.param(("train.unet_lr_scale=0.1",), marks=pytest.mark.slow)])
def test_a_resumed_run_draws_what_one_that_was_never_stopped_draws(tmp_path, recipe, settings):
    class CrashError(RuntimeError):
        pass

    def crash_after_two(what, done, total):
        if what == "train" and done == 3:
            raise CrashError

    settings = recipe(STYLES, "train.steps=3", *settings)
    whole = train(settings, tmp_path / "whole")
    with pytest.raises(CrashError):
        train(settings, tmp_path / "parts", report=crash_after_two)
    assert train(settings, tmp_path / "parts", resume=True) == whole
    first, second = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (('prompt.styles=["oil"]',), "unknown style in prompt.styles 'oil'; choose from watercolor, comic"),
        (('prompt.styles=["comic", "comic"]',), "name each style once"),
        (("prompt.styles=comic",), "prompt.styles is 'comic', expected an array"),
        ((STYLES, "prompt.kind=class-embs"), "prompt.styles needs a text prompt"),
    ],
)
def test_what_cannot_be_is_said_in_one_line(recipe, settings, message):
    with pytest.raises(ValueError, match=message.replace("[", r"\[")) as error:
        recipe(*settings)
    assert "\n" not in str(error.value)
