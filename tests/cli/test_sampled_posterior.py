"""What a prediction draws is a function of seed, image and window: not of batch, order, process or call."""

from dataclasses import replace

import pytest
import torch

from tadp_backbone import DiffusionBackbone
from tadp_backbone.attention_maps import layers_at
from tadp_backbone.text.word_attention import words_of
from tadp_cli.experiments.analyses.localisation import maps_of
from tadp_cli.inputs.user_images import to_pil
from tadp_cli.pipelines.error_analysis import predicted
from tadp_cli.pipelines.evaluate import OpenedRun
from tadp_cli.pipelines.forward_pass import attention_pass
from tadp_cli.prompts.builder import PromptContexts, Prompts
from tadp_heads import PerceptionConfig, PerceptionModel
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.segmentation import FPNHead
from tadp_heads.segmentation.per_image import per_image_metrics
from tadp_heads.training import evaluate


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scenes")
    write_scenes(folder, task="segmentation", domain="photo", split="val", count=3, seed=0, size=32)
    return open_folder(folder, "segmentation", "val")


@pytest.fixture(scope="module", params=["posterior", "noise"])
def model(request, scenes):
    """A backbone that draws, under a head with random weights."""
    drawn = {"posterior": "sample"} if request.param == "posterior" else {"noise": True, "timestep": 200}
    backbone = DiffusionBackbone.from_pretrained("tiny", **drawn).freeze()
    torch.manual_seed(0)
    head = FPNHead(backbone.levels, len(scenes.classes), width=64)
    config = PerceptionConfig(task="segmentation", classes=scenes.classes, prompt="")
    return PerceptionModel(backbone, head, config).eval()


@torch.no_grad()
def _features(model, images, window=0, **config):
    """The finest level of the images at the index of a window."""
    known, model.config = model.config, replace(model.config, **config)
    extract = model.extractor(images, model.backbone.encode_text([""]))
    pixels = images / 127.5 - 1
    levels = [extract(pixels)[0] for _ in range(window + 1)]
    model.config = known
    return levels[-1]


def test_the_noise_of_an_image_does_not_depend_on_its_batch(model, scenes):
    images = torch.stack([scenes[i].image for i in range(3)])
    together, turned = _features(model, images), _features(model, images.flip(0)).flip(0)
    alone = torch.cat([_features(model, image[None]) for image in images])
    torch.testing.assert_close(alone, together)
    torch.testing.assert_close(turned, together)


def test_another_window_seed_or_pixel_draws_other_noise(model, scenes):
    image = scenes[0].image[None].clone()
    known = _features(model, image)
    changed = image.clone()
    changed[..., 0, 0] ^= 1
    for other in (_features(model, image, window=1), _features(model, image, seed=1), _features(model, changed)):
        assert (other - known).abs().mean() > 1e-3 * known.abs().mean()


def test_all_ways_to_predict_agree(model, scenes):
    """Evaluation in batches of 1 and 3; the report, analyses, and images given as files; called again."""
    prompts = Prompts(dict.fromkeys(scenes.ids, ""))
    contexts = PromptContexts(prompts, model.backbone)
    one, three = (evaluate(model, scenes, contexts, batch_size=size)["mIoU"] for size in (1, 3))
    assert three == pytest.approx(one, abs=2e-3)
    opened = OpenedRun(None, model, scenes, prompts)
    ways = [
        [image.prediction for image in per_image_metrics(opened.model, opened.dataset, opened.context)],
        predicted(opened, scenes.ids)[1],
        [result.ids for result in model.predict_batch([to_pil(sample.image) for sample in scenes], batch_size=3)],
        [model.predict(to_pil(sample.image)).ids for sample in scenes],
    ]
    for way in ways[1:]:
        for first, other in zip(ways[0], way, strict=True):
            assert (first == other).float().mean() > 0.99


def test_word_maps_are_the_same_at_each_call(model, scenes):
    backbone, sample = model.backbone, scenes[0]
    words = words_of(backbone.tokenizer, "a tree")
    twice = [maps_of(backbone, sample, "a tree", {word.text: word for word in words}) for _ in range(2)]
    torch.testing.assert_close(twice[0]["tree"], twice[1]["tree"])
    layers, context = layers_at(backbone), backbone.encode_text(["a tree"])
    passes = [attention_pass(backbone, sample.image, context, layers) for _ in range(2)]
    for path in layers:
        torch.testing.assert_close(passes[0].layers[path], passes[1].layers[path])
