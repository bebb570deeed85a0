"""Images of sizes that are no multiples of the coarsest stride: padded in training as in inference."""

import pytest
import torch

from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.train import build_model, latent_pool, load_backbone
from tadp_cli.prompts.builder import PromptContexts, Prompts
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.segmentation.loss import cross_entropy, resize_logits
from tadp_heads.training.dataset import LiveBatches, TrainingImages
from tadp_heads.training.features import CachedFeatures, cached_bytes
from tadp_heads.training.latents import EncodedImages
from tadp_heads.training.loop import Objective
from tadp_heads.training.memory.probe import DryStep
from tadp_heads.training.sampler import Pick

SIZE = 40
"""Pixels; the tiny model's coarsest stride is 16, so images are padded to 48."""
SMALL = {
    "segmentation": ("head.variant=ade", "head.width=16"),
    "depth": ("head.fusion_channels=16",),
    "detection": ("head.fpn_channels=16", "head.representation_size=32"),
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """(task, settings) -> (recipe, model in training mode, what its passes read)."""
    root = tmp_path_factory.mktemp("data")

    def make(task, *settings):
        folder = root / task
        if not folder.exists():
            write_scenes(folder, task=task, domain="photo", split="train", count=2, seed=0, size=SIZE)
        fixed = (f"data.folder={folder}", "prompt.kind=empty", "train.flip=false", "train.batch_size=2")
        recipe = load_recipe(f"scenes-{task}", (*fixed, *SMALL[task], *settings))
        dataset, backbone = open_data(recipe.data.folder, task, "train"), load_backbone(recipe, "cpu")
        prompts = Prompts(dict.fromkeys(dataset.ids, ""))
        model = build_model(recipe, backbone, dataset, prompts)
        images, pool = TrainingImages(dataset, recipe.train), latent_pool(recipe, backbone)
        if pool is not None:
            images = EncodedImages(dataset, recipe.train, pool, backbone)
        return recipe, model, LiveBatches(model, images, PromptContexts(prompts, backbone))

    return make


def _calls_of_head(model, run):
    """What the head is called with while `run` is: (features, targets or None, image size)."""
    calls = []

    def note(module, arguments, keywords):
        named = dict(zip(("features", "targets", "image_sizes"), arguments, strict=False)) | keywords
        sizes = set(named.get("image_sizes") or ())
        calls.append(([level.detach() for level in named["features"]], named.get("image_size"), sizes))

    handle = model.head.register_forward_pre_hook(note, with_kwargs=True)
    try:
        run()
    finally:
        handle.remove()
    return calls


def _read(source, live):
    """The images of the data set as training reads them, in order."""
    picks = [Pick(index, False) for index in range(len(live.images.dataset))]
    if source == "cached":
        return CachedFeatures(live, lambda *_: None).batch(range(len(picks)), [0] * len(picks))
    if source == "pixels":
        return live.batch([live.images.read(picked) for picked in picks])
    live.images.fill(0, 1, lambda *_: None)
    items = sorted((live.images[position] for position in range(len(picks))), key=lambda item: item.id)
    return live.batch(items)


@pytest.mark.parametrize("source", ["pixels", "latents", "cached"])
@pytest.mark.parametrize("task", SMALL)
def test_the_head_gets_in_training_what_it_gets_in_inference(trained, tmp_path, task, source):
    settings = (f"train.cache={tmp_path}", "train.crops=1") if source == "latents" else ()
    recipe, model, live = trained(task, *settings)
    batch, objective = _read(source, live), Objective(model, recipe.loss).train()
    losses = []
    (seen,) = _calls_of_head(model, lambda: losses.append(objective(batch)))
    assert losses[0].isfinite()

    dataset = live.images.dataset
    context = live.contexts.context(dataset.ids)
    (expected,) = _calls_of_head(model, lambda: model.predict_tensors([sample.image for sample in dataset], context))
    assert [level.shape[-1] for level in seen[0]] == [12, 6, 3]
    tolerance = {"atol": 5e-3, "rtol": 5e-3} if source == "cached" else {}  # kept in float16
    torch.testing.assert_close(seen[0], expected[0], **tolerance)
    assert seen[1:] == expected[1:]


def test_the_loss_of_a_segmentation_is_that_of_the_logits_of_inference(trained):
    """Resized with the padding and cut to the image."""
    recipe, model, live = trained("segmentation", "loss.average=all")
    model.head.eval()
    batch = _read("pixels", live)
    loss = Objective(model, recipe.loss)(batch)
    logits = resize_logits(model.head(model.backbone(batch.images, batch.context).levels), (48, 48))
    expected = cross_entropy(logits[..., :SIZE, :SIZE], torch.stack(batch.targets), average="all")
    torch.testing.assert_close(loss, expected)


def test_what_is_kept_in_memory_is_counted_with_its_padding(trained):
    _, _, live = trained("depth")
    kept = CachedFeatures(live, lambda *_: None).kept.levels
    assert cached_bytes(live) == sum(level.numel() * level.element_size() for level in kept)


@pytest.mark.parametrize("crops", [0, 1])
@pytest.mark.parametrize("task", SMALL)
def test_a_step_without_memory_runs_at_any_size(trained, tmp_path, task, crops):
    recipe, model, live = trained(task, f"train.cache={tmp_path}", f"train.crops={crops}")
    step = DryStep(model, live.images.dataset, live.contexts, recipe.train, recipe.loss)
    assert step.bytes_needed(recipe.train) > 0
