"""An image tagger: learned out of fold, saved with the run, blind to the labels of the images that it tags."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_captioning import modify
from tadp_captioning.mentions.words import ClassMentions, class_words
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.error_analysis import examine_run
from tadp_cli.pipelines.evaluate import evaluate_run, open_run
from tadp_cli.pipelines.explain import ExplainOptions, explain_image
from tadp_cli.pipelines.predict import PredictOptions, predict_images
from tadp_cli.pipelines.train import train
from tadp_cli.prompts.kind import Given, make_kind
from tadp_cli.prompts.loose_images import prompted
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.prompts.tagging.fit import fit_tagger
from tadp_cli.prompts.tagging.store import FittedTagger, read_tagger
from tadp_heads import PerceptionModel
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.tagging.presence import Presence
from tadp_heads.tagging.taggers import FirstPass, images_in_batches
from tadp_heads.training import measure

NAMES = ("circle", "tree", "star")
SMALL = {
    "segmentation": ("head.width=16",),
    "detection": ("head.fpn_channels=16", "head.representation_size=32"),
    "depth": (),
}
"""Settings of small heads."""


def quiet(*_):
    """No report."""


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 10), ("val", 4)):
        write_scenes(root, task="segmentation", domain="photo", split=split, count=count, seed=0)
    return root


def recipe_of(scenes, *settings, task="segmentation"):
    fixed = (
        f"data.folder={scenes}",
        "prompt.kind=presence",
        "backbone.map_index=class",
        "presence.first_pass=empty",
        "presence.precision=0.1",
        "presence.folds=2",
        "presence.steps=10",
        "train.steps=2",
        "train.batch_size=2",
        "train.warmup=1",
    )
    return load_recipe(f"scenes-{task}", (*fixed, *SMALL[task], *settings))


@pytest.fixture(scope="module")
def backbone():
    return DiffusionBackbone.from_pretrained("tiny").freeze()


@pytest.fixture(scope="module")
def run(scenes, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    train(recipe_of(scenes, "train.eval_every=1"), out)
    return out


@pytest.mark.parametrize("kind", ["presence", "caption+presence"])
def test_an_image_has_one_prompt_in_training_evaluation_and_prediction(scenes, tmp_path, monkeypatch, kind):
    encoded, encode, ids = [], DiffusionBackbone.encode_text, [f"val_{number:05d}" for number in range(4)]

    def spy(self, texts):
        encoded.extend(texts)
        return encode(self, texts)

    def last():
        return dict(zip(ids, encoded[-len(ids) :], strict=True))

    monkeypatch.setattr(DiffusionBackbone, "encode_text", spy)
    run, images = tmp_path / "run", [scenes / "images" / f"{name}.png" for name in ids]
    chosen = ("presence.steps=60", "presence.precision=0.4")  # so that not all classes are named in every image
    train(recipe_of(scenes, f"prompt.kind={kind}", "train.steps=1", *chosen), run)
    prompts = last()
    assert len(set(prompts.values())) > 1
    evaluate_run(run)
    assert last() == prompts
    examine_run(run, len(ids), device="cpu", report=quiet)
    assert last() == prompts
    predict_images(run, list(map(str, images)), tmp_path / "out", PredictOptions(), device="cpu", report=quiet)
    rows = map(json.loads, (tmp_path / "out" / "captions.jsonl").read_text().splitlines())
    assert {row["id"]: row["prompt"] for row in rows} == prompts
    (explained,) = explain_image(images[0], tmp_path / "words.png", ExplainOptions(run=run), device="cpu")
    assert explained.prompt == prompts[ids[0]]
    prompter = Prompter.from_config(PerceptionModel.from_pretrained(run).config.prompter)
    with pytest.raises(ValueError, match="need an image's tags: use `tadp predict`"):
        prompter.of_captions(["a tree"], None)


def found(**probabilities):
    return Presence(NAMES, {key: torch.tensor(row) for key, row in probabilities.items()}, 0.5)


def prompts(kind, backbone, **settings):
    recipe = load_recipe("scenes-segmentation", (f"prompt.kind={kind}", *settings.pop("also", ())))
    what = found(a=[0.9, 0.1, 0.5], b=[0.0, 0.2, 0.4])
    captions = {"a": "a photo of a circle on sand", "b": "two stars"}
    return make_kind(recipe.prompt, NAMES).prompts(Given(["a", "b"], captions, what), backbone)


def test_words_of_each_kind(backbone):
    assert prompts("presence", backbone).texts == {"a": "circle star", "b": ""}
    assert prompts("caption+presence", backbone).texts == {"a": "a photo of a circle on sand, star", "b": "two stars"}
    assert prompts("caption+class-names", backbone).texts["b"] == "two stars, circle tree star"


def test_soft_presence_weights_each_class_by_its_probability(backbone):
    context = prompts("soft-presence", backbone).context(backbone, ["b", "a"])
    alone = torch.cat([backbone.encode_text([name])[0, 1:2] for name in NAMES])  # one token per name in the tiny model
    assert context.shape == (2, 3, alone.shape[1])
    torch.testing.assert_close(context[1], alone * torch.tensor([0.9, 0.1, 0.5])[:, None])
    assert context[0, 0].abs().max() == 0


@pytest.mark.parametrize("kind", ["presence", "caption+presence", "soft-presence"])
def test_a_placeholder_is_as_long_as_the_prompts_and_needs_no_tags(backbone, kind):
    recipe = load_recipe("scenes-segmentation", (f"prompt.kind={kind}",))
    context = make_kind(recipe.prompt, NAMES).placeholder(Given(["a", "b"]), backbone).context(backbone, ["a"])
    assert context.shape == prompts(kind, backbone).context(backbone, ["a"]).shape


def test_prompts_of_tags_say_what_they_lack(backbone):
    recipe = load_recipe("scenes-segmentation", ("prompt.kind=presence",))
    with pytest.raises(ValueError, match="needs image tags, and none are given"):
        make_kind(recipe.prompt, NAMES).prompts(Given(["a", "b"]), backbone)


def test_presence_only_conditions_the_head_and_not_the_unet():
    words = tuple((name,) for name in NAMES)
    backbone = DiffusionBackbone.from_pretrained("tiny", class_words=words, class_input="presence").freeze()
    context = prompts("presence-only", backbone, also=["backbone.map_index=presence"]).context(backbone, ["a", "b"])
    width = backbone.unet.config.cross_attention_dim
    torch.testing.assert_close(context[..., :width], backbone.encode_text(["", ""])[..., :width])
    torch.testing.assert_close(context[..., width:].amax(1), torch.tensor([[0.9, 0.1, 0.5], [0.0, 0.2, 0.4]]))


def test_each_training_image_is_tagged_by_a_head_that_never_saw_it(scenes, backbone, tmp_path, monkeypatch):
    """One image's label is inverted: its own out-of-fold prediction stays, those of the others change."""
    recipe, dataset = recipe_of(scenes), open_folder(scenes, "segmentation", "train")
    names, truth = object_names(dataset.prompt_names), present_classes(dataset)
    victim = dataset.ids[3]
    turned = truth | {victim: set(names) - truth[victim]}
    rows = []
    for labels, name in ((truth, "true"), (turned, "turned")):
        monkeypatch.setattr("tadp_heads.tagging.fit.present_classes", lambda _, there=labels: there)
        learned = fit_tagger(recipe, dataset, backbone, None, tmp_path / name, "cpu", quiet)
        rows.append(learned.out_of_fold.probabilities)
    assert torch.equal(rows[0][victim], rows[1][victim])
    assert not torch.equal(torch.stack(list(rows[0].values())), torch.stack(list(rows[1].values())))


def empty_the_evaluation_masks(folder):
    """All ground; what is in the pictures stays."""
    before = present_classes(open_folder(folder, "segmentation", "val"))
    for file in (folder / "masks").glob("val*.png"):
        Image.fromarray(np.zeros_like(np.array(Image.open(file)))).save(file)
    assert all(before.values())
    assert not any(present_classes(open_folder(folder, "segmentation", "val")).values())


TAGGERS = {
    "head without words": ("presence.source=head", "presence.first_pass=empty"),
    "head under the caption": ("presence.source=head", "presence.first_pass=caption"),
    "captioner": ("presence.source=captioner",),
    "own mask": ("presence.source=mask", "presence.passes=2", "presence.precision=0.05"),
}
QUICK_TAGGERS = ("head without words", "own mask")


@pytest.mark.parametrize(
    "tagger",
    [tagger if tagger in QUICK_TAGGERS else pytest.param(tagger, marks=pytest.mark.slow) for tagger in TAGGERS],
)
def test_labels_of_the_evaluation_images_change_no_run_and_no_prompt(tagger, scenes, tmp_path, monkeypatch):
    """Trained and evaluated with the true masks of val, then with empty ones: all but the metrics is equal."""
    data, contexts_used, tagged, find = tmp_path / "data", [], [], FittedTagger.find
    shutil.copytree(scenes, data)
    ids = open_folder(data, "segmentation", "val").ids
    captions = tmp_path / "captions.jsonl"
    everyone = (*open_folder(data, "segmentation", "train").ids, *ids)
    captions.write_text("".join(json.dumps({"id": i, "caption": f"a tree {i}"}) + "\n" for i in everyone))
    recipe = recipe_of(data, f"data.captions={captions}", *TAGGERS[tagger])

    def evaluated(model, dataset, contexts, **options):
        contexts_used.append(contexts.context(dataset.ids))
        return measure(model, dataset, contexts, **options)

    def listened_to(learned, dataset, *others):
        found = find(learned, dataset, *others)
        tagged.append(found.of(dataset.ids))
        return found

    monkeypatch.setattr("tadp_cli.pipelines.train.measure", evaluated)
    monkeypatch.setattr(FittedTagger, "find", listened_to)
    for name in ("true", "emptied"):
        train(recipe, tmp_path / name)
        opened = open_run(tmp_path / "true")
        contexts_used.append(opened.prompts.context(opened.model.backbone, ids))
        if name == "true":
            empty_the_evaluation_masks(data)
    assert len(contexts_used) == len(tagged) == 4
    assert all(torch.equal(contexts_used[0], context) for context in contexts_used)
    assert all(torch.equal(tagged[0], probabilities) for probabilities in tagged)
    kept = (file for file in (tmp_path / "true" / "presence").rglob("*") if file.is_file())
    files = [file.relative_to(tmp_path / "true") for file in kept]
    assert len(files) >= 2
    for file in (*files, "model.safetensors"):
        assert (tmp_path / "true" / file).read_bytes() == (tmp_path / "emptied" / file).read_bytes(), file


@pytest.mark.parametrize("kind", ["presence", "caption+presence", "soft-presence", "presence-only"])
def test_labels_of_the_evaluation_images_are_not_used(run, scenes, tmp_path, kind):
    """The same images with other masks get the same prompts."""
    other = tmp_path / "other"
    shutil.copytree(scenes, other)
    empty_the_evaluation_masks(other)
    captions = tmp_path / "captions.jsonl"
    ids = open_folder(scenes, "segmentation", "val").ids
    captions.write_text("".join(json.dumps({"id": i, "caption": "a tree"}) + "\n" for i in ids))
    config = run / "config.toml"
    kept = config.read_text()
    shown = {"presence-only": "presence", "soft-presence": "token"}.get(kind, "class")
    config.write_text(
        kept.replace('kind = "presence"', f'kind = "{kind}"').replace('map_index = "class"', f'map_index = "{shown}"')
    )
    try:
        contexts = []
        for folder in (scenes, other):
            given = captions if kind == "caption+presence" else None
            _, model, _, texts, *_ = open_run(run, folder=str(folder), captions=given)
            contexts.append(texts.context(model.backbone, ids))
        assert torch.equal(*contexts)
    finally:
        config.write_text(kept)


def test_a_run_keeps_its_tagger_and_its_metrics(run, scenes):
    first = json.loads((run / "results.json").read_text())["evaluations"][0]["metrics"]
    assert evaluate_run(run)["metrics"] == first
    output = json.loads((run / "presence" / "presence.json").read_text())
    assert output["precision"] >= 0.1
    assert output["images"] == list(open_folder(scenes, "segmentation", "train").ids)


def test_the_best_checkpoint_has_its_tagger(run):
    """It was saved without one and could not be evaluated."""
    first = json.loads((run / "best" / "results.json").read_text())["evaluations"][0]["metrics"]
    assert evaluate_run(run / "best")["metrics"] == first


def test_a_tagger_is_fitted_again_to_other_images(scenes, backbone, tmp_path):
    """An image that was added after a run had failed was missing in its stored tagger."""
    recipe, dataset = recipe_of(scenes), open_folder(scenes, "segmentation", "train")
    for count in (8, 10, 10):
        dataset.ids = open_folder(scenes, "segmentation", "train").ids[:count]
        learned = fit_tagger(recipe, dataset, backbone, None, tmp_path, "cpu", quiet)
        assert list(learned.out_of_fold.probabilities) == list(dataset.ids)
    written = (tmp_path / "presence" / "presence.json").stat().st_mtime_ns
    fit_tagger(recipe, dataset, backbone, None, tmp_path, "cpu", quiet)
    assert (tmp_path / "presence" / "presence.json").stat().st_mtime_ns == written
    dataset.ids = dataset.ids[:1]
    with pytest.raises(ValueError, match="1 training image: an image tagger is fitted by cross-validation"):
        fit_tagger(recipe, dataset, backbone, None, tmp_path, "cpu", quiet)


def test_loose_images_are_prompted_by_the_tagger(run, scenes, tmp_path):
    file = next((scenes / "images").glob("val*.png"))
    predict_images(run, [str(file)], tmp_path / "out", PredictOptions(), device="cpu", report=quiet)
    kept = json.loads((tmp_path / "out" / "captions.jsonl").read_text().splitlines()[0])
    assert kept["prompt"] == open_run(run).prompts.texts[file.stem]


def test_a_run_without_captions_is_explained_without_one(run, scenes, tmp_path):
    """It was asked for a caption, which then no one read."""
    file = next((scenes / "images").glob("val*.png"))
    (explained,) = explain_image(file, tmp_path / "words.png", ExplainOptions(run=run), device="cpu")
    assert explained.prompt == open_run(run).prompts.texts[file.stem]
    with pytest.raises(ValueError, match="was trained without captions: leave --caption"):
        explain_image(file, tmp_path / "words.png", ExplainOptions(run=run, caption="a tree"), device="cpu")


def test_a_tagger_is_deterministic_where_the_posterior_is_sampled(scenes):
    """Prompts differed between evaluations, and between processes."""
    backbone = DiffusionBackbone.from_pretrained("tiny", posterior="sample").freeze()
    names = ("circle", "tree")
    _, images, captions = next(images_in_batches(open_folder(scenes, "segmentation", "val"), None))
    tagger = FirstPass(backbone, {name: class_words(name) for name in names}, "sd", ClassMentions(names))
    assert torch.equal(tagger.pooled(images, captions), tagger.pooled(images, captions))
    drawn = [backbone.encode_image(tagger.normalise(images)) for _ in range(2)]
    assert not torch.equal(*drawn)


def test_batches_are_smaller_where_images_are_large(scenes, monkeypatch):
    dataset = open_folder(scenes, "segmentation", "train")
    height, width = dataset[0].image.shape[1:]
    monkeypatch.setattr("tadp_heads.tagging.taggers._BATCH_PIXELS", 4 * height * width + 1)
    batches = list(images_in_batches(dataset, None))
    assert [len(images) for _, images, _ in batches] == [4, 4, 2]
    assert [image_id for ids, _, _ in batches for image_id in ids] == list(dataset.ids)
    monkeypatch.setattr("tadp_heads.tagging.taggers._BATCH_PIXELS", 1)
    assert len(list(images_in_batches(dataset, None))) == len(dataset)


def test_first_pass_reads_mentions_and_leaves_the_backbone_as_it_was(scenes, backbone):
    dataset = open_folder(scenes, "segmentation", "val")
    names, before = object_names(dataset.prompt_names), backbone.config
    tagger = FirstPass(backbone, {name: class_words(name) for name in names}, "sd", ClassMentions(names))
    ids, images, _ = next(images_in_batches(dataset, None))
    captions = ["a tree and two circles"] + ["nothing"] * (len(ids) - 1)
    assert tagger.mentioned(captions)[0].nonzero().flatten().tolist() == sorted(
        names.index(name) for name in ClassMentions(names)("tree circles")
    )
    pooled = tagger.pooled(images, captions)
    assert pooled.shape == (len(ids), 2 * sum(level.channels for level in tagger.levels))
    assert not torch.equal(pooled[0], tagger.pooled(images, ["nothing"] * len(ids))[0])
    assert backbone.config is before


@pytest.mark.parametrize("source", ["head", pytest.param("captioner", marks=pytest.mark.slow)])
def test_a_detector_trains_is_evaluated_and_predicts_under_presence(source, tmp_path):
    data, out, run = tmp_path / "data", tmp_path / "out", tmp_path / "run"
    for split, count in (("train", 4), ("val", 2)):
        write_scenes(data, task="detection", domain="photo", split=split, count=count, seed=0)
    metrics = train(recipe_of(data, f"presence.source={source}", task="detection"), run)["evaluations"][0]["metrics"]
    assert "AP" in metrics
    assert evaluate_run(run)["metrics"] == metrics
    texts = open_run(run).prompts.texts
    dataset = open_folder(data, "detection", "val")
    known = [dataset.classes.index(name) for text in texts.values() for name in text.split()]
    assert known, "nothing was found: no prompt is tested"
    files = [str(dataset.image_files[image_id]) for image_id in dataset.ids]
    predict_images(run, files, out, PredictOptions(), device="cpu", report=quiet)
    kept = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert {row["id"]: row["prompt"] for row in kept} == texts
    assert all((out / f"{image_id}_overlay.png").is_file() for image_id in texts)


def test_captioners_chances_need_no_training(scenes, tmp_path):
    recipe = recipe_of(scenes, "presence.source=captioner", "train.unet_lr_scale=0.1")
    train(recipe, tmp_path / "run")
    backbone = DiffusionBackbone.from_pretrained("tiny").freeze()
    learned = read_tagger(tmp_path / "run", recipe, backbone, "cpu")
    dataset = open_folder(scenes, "segmentation", "train")
    again = learned.find(dataset, None, quiet)
    torch.testing.assert_close(again.of(dataset.ids), learned.out_of_fold.of(dataset.ids))
    assert again.of(dataset.ids).max() > 0.5


def test_learned_vectors_train_with_the_head_and_are_kept(scenes, tmp_path):
    recipe = load_recipe(
        "scenes-segmentation",
        (f"data.folder={scenes}", "prompt.kind=learnt", "prompt.vectors=5", "train.steps=2", "train.batch_size=2"),
    )
    first = train(recipe, tmp_path / "run")["evaluations"][0]["metrics"]
    begun = DiffusionBackbone.from_pretrained("tiny", learnt_context=5).learnt_context.vectors
    opened = open_run(tmp_path / "run")
    vectors = opened.model.backbone.learnt_context.vectors
    assert vectors.shape == begun.shape
    assert not torch.equal(vectors, begun)
    assert evaluate_run(tmp_path / "run")["metrics"] == first
    image = Image.open(next((scenes / "images").glob("val*.png")))
    assert opened.model.predict(image).overlay().size == image.size


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("train.unet_lr_scale=0.1",), "needs features of a frozen backbone: set train.unet_lr_scale=0"),
        (("task=depth",), "prompt 'presence' needs classes, and depth has none"),
        (("prompt.kind=presence-only",), "set backbone.map_index=presence"),
        (
            ("prompt.kind=presence-only", "backbone.map_index=presence", 'backbone.map_words=["tree"]'),
            "of the data's classes: leave backbone.map_words out",
        ),
        (("prompt.kind=soft-presence",), "map_index 'class' needs a text prompt, and 'soft-presence' is an embed"),
        (("presence.first_pass=twice",), "presence.first_pass"),
        (("presence.precision=1.5",), "presence.precision is 1.5, expected a share above 0"),
        (("presence.source=labels",), "presence.source"),
        (("presence.source=mask", "train.unet_lr_scale=0.1"), "needs features of a frozen backbone"),
        (("presence.source=mask", "task=detection"), "reads masks of classes, and detection has none"),
        (("presence.recall=1.0",), "presence.recall 1.0 and presence.confidence 0.9: expected shares below 1"),
        (("presence.passes=0",), "presence.passes"),
        (("prompt.vectors=0",), "prompt.vectors"),
    ],
)
def test_wrong_settings_are_one_line(scenes, settings, message):
    with pytest.raises(ValueError, match=message):
        recipe_of(scenes, *settings)


def test_precision_out_of_reach_names_the_setting(scenes, tmp_path):
    with pytest.raises(ValueError, match=r"not reached at any threshold; .* ask for less with presence\.precision"):
        train(recipe_of(scenes, "presence.precision=1.0", "presence.folds=10"), tmp_path / "run")
    assert not (tmp_path / "run" / "config.toml").exists()


def test_where_nothing_is_found_a_modifier_stands_alone_as_in_training(run, scenes):
    recipe = recipe_of(scenes, "prompt.modifier=simple", "prompt.domain=watercolor")
    model = PerceptionModel.from_pretrained(run)
    nothing = SimpleNamespace(find_in=lambda ids, *_: Presence(NAMES, {i: torch.zeros(3) for i in ids}, 0.5))
    _, context = prompted(Prompter.of(recipe, NAMES), model, nothing, [None], [""])
    torch.testing.assert_close(context, model.backbone.encode_text([modify("", "watercolor", "simple")]))
