"""What each setting of training does, on the real classes at toy size."""

import json
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from copies import copies_of
from diffusers.training_utils import EMAModel
from torch import Tensor, nn

from tadp_backbone import DiffusionBackbone
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.train import build_model, latent_pool, load_backbone, train
from tadp_cli.prompts.builder import training_contexts
from tadp_cli.prompts.prompter import Prompter
from tadp_heads import PerceptionModel
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.segmentation.loss import cross_entropy, focal_loss
from tadp_heads.tasks import get_task, train_transform
from tadp_heads.training import fit
from tadp_heads.training.average import MovingAverage
from tadp_heads.training.dataset import TrainingImages, read
from tadp_heads.training.latents import EncodedImages
from tadp_heads.training.loss import check_options
from tadp_heads.training.sampler import pick

pytestmark = pytest.mark.numerical

SMALL = {
    "segmentation": ("head.variant=pascal", "head.width=64"),
    "depth": ("head.fusion_channels=16",),
    "detection": (),
}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for task in ("segmentation", "depth"):
        for split in ("train", "val"):
            write_scenes(root / task, task=task, domain="photo", split=split, count=4, seed=0, size=32)
    return root


@pytest.fixture(scope="module")
def tiny():
    return load_backbone(load_recipe("scenes-segmentation", ("train.unet_lr_scale=1",)), "cpu")


@pytest.fixture(scope="module")
def copy_of_tiny(tiny):
    return copies_of(tiny, [tiny.tokenizer])


@pytest.fixture
def recipe(data):
    def make(*settings: str, task: str = "segmentation") -> Recipe:
        kind = "empty" if task == "depth" else "oracle"
        fixed = (f"data.folder={data / task}", f"prompt.kind={kind}", "train.batch_size=2", "train.warmup=0")
        short = ("train.steps=2", "train.unet_lr_scale=1", "train.schedule=constant", "train.lr=1e-3")
        return load_recipe(f"scenes-{task}", (*fixed, *short, *SMALL[task], *settings))

    return make


@pytest.fixture
def run(copy_of_tiny, tmp_path) -> Callable[..., PerceptionModel]:
    """The model after training in a folder of that name; `change` does something to it before."""

    def fitted(recipe: Recipe, name: str = "run", change=lambda model: None, **options) -> PerceptionModel:
        dataset = open_data(recipe.data.folder, recipe.task, recipe.data.train)
        backbone = copy_of_tiny()
        prompts = Prompter(config=recipe.prompt).of_data(dataset, backbone, None)
        model = build_model(recipe, backbone, dataset, prompts)
        change(model)
        contexts = training_contexts(prompts, backbone, recipe.train.cache)
        settings = {"loss": recipe.loss, "pool": latent_pool(recipe, backbone)}
        fit(model, dataset, contexts, recipe.train, tmp_path / name, **settings, **options)
        return model

    return fitted


def _weights(model: PerceptionModel) -> dict[str, Tensor]:
    parts = {"head": model.head, "unet": model.backbone.unet}
    return {f"{part}.{name}": tensor for part, m in parts.items() for name, tensor in m.state_dict().items()}


def _same(first: dict[str, Tensor], second: dict[str, Tensor], **tolerance) -> bool:
    if tolerance:
        return all(torch.allclose(first[key], second[key], **tolerance) for key in first | second)
    return all(torch.equal(first[key], second[key]) for key in first | second)


def _lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


# Gradients cut to far below AdamW's epsilon make its steps proportional to them, where otherwise the sign of a rounding
# error would count.
LINEAR = ("train.clip=1e-9", "train.lr=1", "train.weight_decay=0", "train.flip=false")


def _assert_same_steps(start: nn.Module, first: nn.Module, second: nn.Module, within: float = 1e-3) -> None:
    """From `start`, up to rounding: compared as a whole, by norm."""
    began, one, other = (module.state_dict() for module in (start, first, second))
    moved = sum((one[name] - began[name]).double().square().sum() for name in began).sqrt()
    apart = sum((one[name] - other[name]).double().square().sum() for name in began).sqrt()
    assert moved > 1e-6
    assert apart < within * moved


def test_two_passes_of_one_image_step_as_one_pass_of_two(recipe, run, tiny):
    """Without dropout, the one thing that depends on the pass."""

    def no_dropout(model):
        model.head.fpn.decoder.dropout.p = 0.0

    whole = run(recipe(*LINEAR), "whole", no_dropout)
    halves = run(recipe(*LINEAR, "train.batch_size=1", "train.accumulate=2"), "halves", no_dropout)
    _assert_same_steps(tiny.unet, whole.backbone.unet, halves.backbone.unet)


def test_the_gradient_is_cut_to_the_norm_asked_for(recipe, run, tmp_path, tiny, caplog):
    """Far below AdamW's epsilon a gradient moves nothing. What trains, and how, is noted at the start."""
    caplog.set_level("INFO", logger="tadp_heads.training")
    model = run(recipe("train.clip=1e-13", "train.weight_decay=0", "train.steps=1"))
    assert _same(tiny.unet.state_dict(), model.backbone.unet.state_dict(), atol=1e-7, rtol=0)
    assert _lines(tmp_path / "run")[0]["grad_norm"] > 1e-3
    head, unet, share = caplog.messages
    assert head.startswith(f"head: {len(list(model.head.parameters()))} tensors")
    assert unet.endswith("lr 0.001, weight decay 0")
    assert share == "effective batch size 2: 1 processes x 1 micro-batches x 2 images"


def test_the_saved_weights_are_the_moving_average(recipe, run):
    """As diffusers' EMAModel defines it: the decay begins at (1 + n) / (10 + n). Evaluation alone sees it."""
    seen, evaluated = [], []

    def weight() -> Tensor:
        return head[0].fpn.segmentation_head[0].weight.detach().clone()

    head: list[nn.Module] = []
    model = run(
        recipe("train.ema=0.5", "train.steps=3", "train.eval_every=1"),
        change=lambda m: head.append(m.head),
        on_step=lambda step, metrics: seen.append(weight()),
        evaluate=lambda: evaluated.append(weight()) or {},
    )
    average, averages = seen[0], []
    for count, later in enumerate(seen[1:], 1):
        averages.append(average)
        decay = min(0.5, (1 + count) / (10 + count))
        average = decay * average + (1 - decay) * later
    torch.testing.assert_close(evaluated, averages)
    torch.testing.assert_close(model.head.fpn.segmentation_head[0].weight.detach(), average)
    assert not torch.equal(average, seen[-1])
    undisturbed = run(recipe("train.ema=0.5", "train.steps=3"), "undisturbed")
    assert _same(_weights(model), _weights(undisturbed)), "the weights that train are put back"


def test_the_average_is_that_of_diffusers():
    """Its states load too: those of old runs are its own."""
    parameters = [nn.Parameter(torch.randn(3, 2)), nn.Parameter(torch.randn(4))]
    ours, theirs = MovingAverage(parameters, 0.3), EMAModel(parameters, decay=0.3)
    for _ in range(12):
        with torch.no_grad():
            for parameter in parameters:
                parameter.add_(torch.randn_like(parameter))
        ours.update(parameters)
        theirs.step(parameters)
    torch.testing.assert_close(ours.weights, theirs.shadow_params)
    again = MovingAverage(parameters, 0.3)
    again.load_state_dict(theirs.state_dict())
    assert again.updates == 12
    torch.testing.assert_close(again.weights, ours.weights)


@pytest.fixture
def passes(monkeypatch) -> list[int]:
    """Images of each pass of a backbone from now on."""
    passes, forward = [], DiffusionBackbone.forward

    def spy(self, images, *arguments, **keywords):
        passes.append(len(images))
        return forward(self, images, *arguments, **keywords)

    monkeypatch.setattr(DiffusionBackbone, "forward", spy)
    return passes


FROZEN = ("train.unet_lr_scale=0", "train.flip=false")


def test_features_are_computed_of_the_images_that_steps_read(recipe, run, passes):
    """Four steps on 1800 images computed the features of all 1800; resuming for one step did so again."""

    def trained(steps: int, name: str) -> PerceptionModel:
        passes.clear()
        return run(recipe(*FROZEN, f"train.steps={steps}"), name)

    whole = trained(3, "whole")
    assert passes == [2, 2], "each of the four images once"
    trained(1, "parts")
    assert passes == [2]
    trained(2, "parts")
    assert passes == [2], "the other two"
    assert _same(_weights(trained(3, "parts")), _weights(whole))


def _stop(step: int, line: dict) -> None:
    raise InterruptedError


def test_a_run_that_resumes_reads_its_features_and_removes_them_at_the_end(recipe, run, passes, tmp_path, caplog):
    """Resuming for one step cost as much as computing all features."""
    caplog.set_level("INFO")
    settings = recipe(*FROZEN, "train.save_every=1", "train.steps=3")
    whole = run(settings, "whole")
    with pytest.raises(InterruptedError):
        run(settings, "parts", on_step=_stop)
    files = sorted((tmp_path / "parts" / "features").iterdir())
    assert len(files) == 4
    assert f"features of 4 images: 0.1 MB, kept in {tmp_path / 'parts' / 'features'}" in caplog.text
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:99])  # damaged
    passes.clear()
    resumed = run(settings, "parts")
    assert sum(passes) in (2, 4), "the batches of what is gone alone"
    assert _same(_weights(resumed), _weights(whole))
    assert not (tmp_path / "parts" / "features").exists()


def test_another_run_on_the_same_images_reads_the_features_of_the_first(recipe, run, passes, tmp_path, monkeypatch):
    shared = (*FROZEN, f"train.cache={tmp_path / 'cache'}")
    first = run(recipe(*shared), "first")
    assert passes == [2, 2]
    monkeypatch.setattr("tadp_heads.training.features.CACHE_LIMIT", 0)
    second = run(recipe(*shared), "second")  # reads them at each step
    assert passes == [2, 2]
    assert _same(_weights(second), _weights(first))
    run(recipe(*shared, "prompt.kind=empty"), "third")
    run(recipe(*shared, "train.precision=bf16"), "fourth")
    run(recipe(*shared), "fifth", change=lambda model: model.backbone.unet.conv_in.bias.data.add_(1))
    assert passes == [2, 2] * 4, "another prompt, another precision and other weights give other features"


def test_features_beyond_the_limit_are_computed_at_each_step_and_old_ones_go(
    recipe, run, passes, tmp_path, monkeypatch
):
    shared = (*FROZEN, f"train.cache={tmp_path / 'cache'}")
    run(recipe(*shared), "first")
    folder = tmp_path / "cache" / "features"
    old, size = set(folder.iterdir()), sum(file.stat().st_size for file in folder.iterdir())
    run(recipe(*shared, "prompt.kind=empty", f"train.features_gb={1.5 * size / 1e9}"), "second")
    new = set(folder.iterdir()) - old
    assert len(new) == 4, "those of the run that was the last to use the folder stay"
    assert len(old & set(folder.iterdir())) == 2
    passes.clear()
    monkeypatch.setattr("tadp_heads.training.features.CACHE_LIMIT", 0)
    run(recipe(*FROZEN, "train.features_gb=0"), "third")
    assert passes == [2, 2], "of each step"
    assert not (tmp_path / "third" / "features").exists()


def test_checkpointing_and_half_precision_change_rounding_alone(recipe, run, tiny, tmp_path):
    one = (*LINEAR, "train.steps=1")
    plain = run(recipe(*one), "plain")
    again = run(recipe(*one, "train.gradient_checkpointing=true"), "again")
    _assert_same_steps(tiny.unet, plain.backbone.unet, again.backbone.unet)
    half = _weights(run(recipe(*one, "train.precision=bf16"), "half"))
    assert not _same(_weights(plain), half)
    assert {tensor.dtype for tensor in half.values() if tensor.is_floating_point()} == {torch.float32}
    losses = [_lines(tmp_path / name)[0]["loss"] for name in ("plain", "again", "half")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-5)
    assert losses[2] == pytest.approx(losses[0], rel=0.05)


def test_half_precision_with_a_scaled_loss_needs_a_gpu(recipe, run):
    with pytest.raises(ValueError, match=r"train\.precision 'fp16' needs a GPU"):
        run(recipe("train.precision=fp16"))


def test_low_rank_updates_end_up_in_the_weights_of_a_plain_unet(recipe, run, tiny, tmp_path):
    model = run(recipe("train.lora_rank=2", "train.weight_decay=0"))
    before, after = tiny.unet.state_dict(), model.backbone.unet.state_dict()
    assert list(before) == list(after)
    changed = {name: after[name] - before[name] for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.rsplit(".", 1)[0].endswith(("to_q", "to_k", "to_v", "to_out.0")) for name in changed)
    for name, update in changed.items():
        assert torch.linalg.matrix_rank(update.double(), rtol=1e-3) <= 2, name
    model.save_pretrained(tmp_path / "saved")
    assert _same(PerceptionModel.from_pretrained(tmp_path / "saved").backbone.unet.state_dict(), after)


def test_a_lora_is_evaluated_as_it_is_saved_and_trains_on_untouched(recipe, run):
    evaluated = []

    def evaluate() -> dict[str, float]:
        names = [name for name, _ in held[0].unet.named_parameters()]
        assert not any("lora" in name for name in names)
        evaluated.append(names)
        return {}

    held: list = []
    settings = ("train.lora_rank=2", "train.steps=3")
    model = run(recipe(*settings, "train.eval_every=1"), change=lambda m: held.append(m.backbone), evaluate=evaluate)
    assert len(evaluated) == 2
    assert _same(_weights(model), _weights(run(recipe(*settings), "undisturbed")))


def test_heads_on_a_frozen_backbone_share_the_latents_of_the_cache(recipe, run, tmp_path):
    """Their features are computed once per run; the VAE encodes for the first run alone."""
    settings = (*LINEAR, "train.unet_lr_scale=0")
    cached = (*settings, f"train.cache={tmp_path / 'cache'}", "train.crops=1")
    began = []

    def frozen(model):
        model.backbone.freeze()
        began.append(deepcopy(model.head))

    def no_vae(model):
        frozen(model)
        model.backbone.vae.encode = None

    live = run(recipe(*settings), "live", frozen)
    filled = run(recipe(*cached), "filled", frozen)
    assert _same(_weights(filled), _weights(run(recipe(*cached, "train.features_gb=0"), "read", no_vae)))
    # Features are kept in float16, and BatchNorm over two images enlarges what that rounds.
    _assert_same_steps(began[0], live.head, filled.head, within=2e-2)


@pytest.mark.parametrize("task", ["segmentation", pytest.param("depth", marks=pytest.mark.slow)])
def test_cached_texts_and_latents_give_the_same_run_without_encoders(recipe, run, tmp_path, task):
    """Where pixels don't vary, what is read from the cache is what is computed at every step."""
    settings = (f"train.cache={tmp_path / 'cache'}", "train.crops=2")
    run(recipe(task=task), "live")
    filled = _weights(run(recipe(*settings, task=task), "filled"))

    def no_encoders(model):
        model.backbone.vae.encode = model.backbone.text_encoder.forward = None

    read = _weights(run(recipe(*settings, task=task), "read", no_encoders))
    assert _same(filled, read)
    losses = [[line["loss"] for line in _lines(tmp_path / name)] for name in ("live", "filled")]
    assert losses[1] == pytest.approx(losses[0], rel=1e-3)


def test_a_pool_of_crops_is_drawn_from(recipe, tmp_path):
    """Four images, three versions of each, and nothing more however long the run."""
    cache = tmp_path / "cache"
    chosen = recipe("train.transform=user", "train.size=32", f"train.cache={cache}", "train.crops=3")
    vary = train_transform(chosen.task, chosen.train.transform, chosen.train.size)
    dataset = open_data(chosen.data.folder, chosen.task, chosen.data.train, vary)
    backbone = load_backbone(chosen, "cpu")
    first, again = (
        [reader[position].pixels for position in range(16)]
        for reader in (EncodedImages(dataset, chosen.train, latent_pool(chosen, backbone), backbone) for _ in range(2))
    )
    assert len(list(cache.glob("*.safetensors"))) <= 12
    assert len({pixels.sum().item() for pixels in first}) > 4, "several versions of an image"
    assert all(torch.equal(one, other) for one, other in zip(first, again, strict=True))


def test_the_loss_is_the_recipes(recipe, run, tmp_path):
    for kind, function in (("cross-entropy", cross_entropy), ("focal", focal_loss)):
        found = []
        run(
            recipe("train.steps=1", f"loss.kind={kind}"),
            kind,
            lambda m, f=function, found=found: m.head.register_forward_hook(
                lambda _, args, out: found.append((f, out))
            ),
        )
        line = _lines(tmp_path / kind)[0]["loss"]
        (_, logits), targets = found[0], _targets(recipe("train.steps=1"))
        assert function(logits, targets).item() == pytest.approx(line, rel=1e-5)


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("segmentation", ("loss.gama=2", "loss.kind=focal"), r"unknown 'gama'; choose from .*gamma"),
        ("segmentation", ("loss.gamma=2",), r"unknown 'gamma'; choose from .*average"),
        ("depth", ("loss.gamma=2",), r"unknown 'gamma'; the loss of depth has none"),
        ("detection", ("loss.gamma=2",), r"unknown 'gamma'; choose from use_difficult"),
    ],
)
def test_settings_that_the_loss_does_not_have_are_refused(task, settings, message):
    with pytest.raises(ValueError, match=f"settings of loss: {message}"):
        check_options(get_task(task), load_recipe(f"scenes-{task}", settings).loss)


def test_an_error_inside_a_loss_is_not_taken_for_a_wrong_setting(recipe, run):
    def fail(module, args):
        raise TypeError("of the head")

    with pytest.raises(TypeError, match="of the head"):
        run(recipe("loss.kind=focal"), change=lambda m: m.head.register_forward_pre_hook(fail))


def _targets(recipe: Recipe) -> Tensor:
    """The masks of the first step, mirrored as they are drawn."""
    dataset = open_data(recipe.data.folder, recipe.task, recipe.data.train)
    picks = [pick(recipe.train, place, len(dataset)) for place in range(recipe.train.effective_batch)]
    masks = [dataset[index].target.as_subclass(Tensor) for index, _ in picks]
    return torch.stack([mask.flip(-1) if mirrored else mask for mask, (_, mirrored) in zip(masks, picks, strict=True)])


def test_the_backbone_is_read_as_the_recipe_says(recipe):
    settings = ("backbone.latent_scale=1", "backbone.posterior=sample", "backbone.attention_maps=false")
    chosen = recipe(*settings, "backbone.image_range=imagenet", "backbone.text_adapter=true")
    backbone = load_backbone(chosen, "cpu")
    config = backbone.config
    assert (config.latent_scale, config.posterior, config.map_strides) == (1.0, "sample", ())
    white = torch.full((1, 3, 32, 32), 2.64)  # white, standardised
    backbone.encode_image(white)
    again = load_backbone(chosen, "cpu")
    assert _same(backbone.text_adapter.state_dict(), again.text_adapter.state_dict()), "the seed decides"


def test_a_text_adapter_trains_and_is_saved_with_the_run(recipe, tmp_path):
    """Through `train`, which gives the predictor its range of pixels and its seed, too."""
    settings = ("backbone.image_range=imagenet", "train.unet_lr_scale=0", "train.seed=3")
    chosen = recipe("backbone.text_adapter=true", *settings)
    before = load_backbone(chosen, "cpu").text_adapter.gamma.detach().clone()
    train(chosen, tmp_path / "run")
    model = PerceptionModel.from_pretrained(tmp_path / "run")
    assert model.config.image_range == "imagenet"
    assert model.config.seed == 3, "of what predictions draw"
    assert not torch.equal(model.backbone.text_adapter.gamma, before)


def test_the_best_model_so_far_is_a_run_of_its_own(recipe, tmp_path):
    out = tmp_path / "run"
    settings = ("train.steps=4", "train.eval_every=1", "train.unet_lr_scale=0", "train.lr=1e-2", "train.keep=2")
    results = train(recipe(*settings, "train.save_every=1"), out)
    lines = [line for line in _lines(out) if "val" in line]
    assert [line["step"] for line in lines] == [1, 2, 3]
    metrics = [*(line["val"]["mIoU"] for line in lines), results["evaluations"][0]["metrics"]["mIoU"]]
    best = json.loads((out / "best" / "results.json").read_text())
    assert best["evaluations"][0]["metrics"]["mIoU"] == max(metrics)
    assert best["step"] == 1 + metrics.index(max(metrics))
    assert evaluate_run(out / "best")["metrics"]["mIoU"] == max(metrics)
    assert sorted(path.name for path in (out / "state").iterdir()) == ["step_00000003.pt", "step_00000004.pt"]


def test_no_more_readers_are_started_than_there_are_processors(recipe, monkeypatch):
    """torch warns of more, and warnings are errors here."""
    chosen = recipe("train.workers=512")
    dataset = open_data(chosen.data.folder, chosen.task, chosen.data.train)
    monkeypatch.setattr("os.sched_getaffinity", lambda process: {0}, raising=False)
    (items,) = read(TrainingImages(dataset, chosen.train), [[0, 1]], chosen.train.workers)
    assert len(items) == 2
