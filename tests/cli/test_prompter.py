"""One prompt per image and run: training, evaluation, prediction, explanation and Python encode the same text."""

import json
import re
import shutil
import sys
import tomllib
from types import SimpleNamespace

import pytest
import torch
from diffusers import UNet2DConditionModel
from invoking import tadp
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_cli.config.prompt import MODIFIERS, PromptConfig
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.adapt import adapt
from tadp_cli.pipelines.error_analysis import examine_run
from tadp_cli.pipelines.evaluate import evaluated
from tadp_cli.pipelines.explain import ExplainOptions, explain_image
from tadp_cli.pipelines.predict import PredictOptions, predict_images
from tadp_cli.pipelines.train import train
from tadp_cli.prompts.authors import with_author
from tadp_cli.prompts.kind import make_kind
from tadp_cli.prompts.prompter import Prompter
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.tagging.presence import Presence

NAMES = ("", "tree", "red circle")
CAPTION = "A photo of a red circle and two trees at night."


def quiet(*_):
    """Reports nothing."""


@pytest.fixture(scope="module")
def encoded():
    """Every text that a backbone encodes, in order."""
    texts, encode = [], DiffusionBackbone.encode_text

    def spy(self, given):
        texts.extend(given)
        return encode(self, given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DiffusionBackbone, "encode_text", spy)
        yield texts


@pytest.fixture
def installed(repository, tmp_path, monkeypatch):
    """The entry points that this package declares, as pip installs them."""
    declared = tomllib.loads((repository / "packages/cli/pyproject.toml").read_text())["project"]["entry-points"]
    info = tmp_path / "site" / "declared-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1.0\n")
    lines = [f"[{group}]\n{name} = {value}\n" for group, own in declared.items() for name, value in own.items()]
    (info / "entry_points.txt").write_text("".join(lines))
    monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])


@pytest.fixture(scope="module")
def adapted(repository, tmp_path_factory, encoded):
    """A run of photos adapted to night, the image that it was evaluated on, and the prompt that it had there."""
    root = tmp_path_factory.mktemp("night")
    for split in ("train", "val"):
        write_scenes(root / "photos", task="segmentation", domain="photo", split=split, count=1, seed=0, size=64)
    write_scenes(root / "night", task="segmentation", domain="night", split="test", count=1, seed=1, size=64)
    backbone = repository / "tests" / "data" / "first_layout" / "backbone"
    small = (f"backbone.source={backbone}", "head.variant=ade", "head.width=4", "train.steps=1", "train.batch_size=1")
    data = (f"data.folder={root / 'photos'}", "data.captioner=tiny", "data.min_tokens=12", "test.split=test")
    recipe = load_recipe("scenes-segmentation", (*small, *data, "prompt.domain=night"))
    out = root / "out"
    adapt(recipe, "simple", str(root / "night"), labelled=True, out=out, device="cpu", report=quiet)
    image = root / "night/images/test_00000.png"
    where = {"data": root / "night", "split": "test", "image": image, "caption": None}
    return SimpleNamespace(root=root, run=out / "run", small=small, prompt=encoded[-1], **where)


def written_like(run, folder, **settings):
    """The finished run in another folder, as if it had been trained with these settings."""
    shutil.copytree(run, folder, symlinks=True)
    recipe = load_recipe(folder / "config.toml").replace(**settings)
    (folder / "config.toml").write_text(recipe.to_toml())
    config = json.loads((folder / "config.json").read_text())
    names = list(json.loads((folder / "prompt_names.json").read_text()).values())
    config["model"] |= {
        "prompt": make_kind(recipe.prompt, names).modified_template,
        "prompter": Prompter.of(recipe, names).to_config(),
    }
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def every_path(run, world, encoded, out):
    """{path: the texts that it encodes for the image}; the report's image is the first of the validation split."""
    image, texts, caption = Image.open(world.image).convert("RGB"), {}, world.caption

    def note(name, call):
        encoded.clear()
        call()
        texts[name] = list(encoded)

    note("eval", lambda: evaluated(run, folder=str(world.data), split=world.split))
    options = PredictOptions(caption=caption)
    note("predict", lambda: predict_images(run, [str(world.image)], out, options, device="cpu", report=quiet))
    explained = explain_image(world.image, out / "words.png", ExplainOptions(run=run, caption=caption), device="cpu")
    texts["explain"] = [explained[0].prompt]
    note("report", lambda: examine_run(run, 1, device="cpu", report=quiet))
    note("Python", lambda: PerceptionModel.from_pretrained(run).predict(image, caption))
    return texts


def test_an_adapted_run_prompts_alike_everywhere_and_names_the_domain_once(adapted, encoded, installed, tmp_path):
    """The prompt was "a dark night photo of a dark night photo of a green tree" in predict and eval."""
    assert adapted.prompt.startswith("a dark night photo of ")
    assert adapted.prompt.count("night") == 1
    texts = every_path(adapted.run, adapted, encoded, tmp_path)
    (of_source,) = texts.pop("report")
    assert of_source.startswith("a dark night photo of ")
    assert texts == {path: [adapted.prompt] for path in texts}
    (line,) = map(json.loads, (tmp_path / "captions.jsonl").read_text().splitlines())
    assert line["prompt"] == adapted.prompt
    assert "night" in line["caption"], "as the captioner wrote it"
    assert (line["captioner"], line["params"]) == ("tiny", "min=12_max=77")


@pytest.mark.parametrize(
    ("kind", "modifier", "style"),
    [
        ("caption", "null", "grammatical"),
        ("nouns", "textual-inversion", "grammatical"),
        ("caption+class-names", "nearby", "grammatical"),
        ("caption", "dreambooth", "reference"),
    ],
)
def test_each_kind_of_prompt_is_the_same_on_every_path(adapted, encoded, installed, tmp_path, kind, modifier, style):
    settings = {"prompt.kind": kind, "prompt.modifier": modifier, "prompt.modifier_style": style}
    learned = {"prompt.token_file": "learned.safetensors", "prompt.token": "sks", "backbone.unet": "tuned"}
    run = written_like(adapted.run, tmp_path / "run", **settings, **learned)
    texts = every_path(run, adapted, encoded, tmp_path / "out")
    del texts["report"]  # of an image of the source
    assert texts == dict.fromkeys(texts, texts["eval"][:1])


def trained_on_one_image(adapted, out, **settings):
    """A run that was trained and evaluated on one image, and where that image is."""
    data = adapted.root / "photos"
    given = {"data.folder": str(data), "data.captioner": "tiny", "data.val": "train", **settings}
    train(load_recipe("scenes-segmentation", adapted.small).replace(**given), out)
    where = {"data": data, "split": "train", "image": data / "images/train_00000.png", "caption": None}
    return SimpleNamespace(run=out, **where)


@pytest.mark.parametrize(
    ("kind", "modifier"),
    [
        ("empty", "simple"),
        ("class-names", "null"),
        ("caption", "null"),
        ("nouns", "simple"),
        ("caption+class-names", "unrelated"),
        ("oracle", "null"),
    ],
)
def test_a_run_is_used_with_the_prompt_that_it_was_trained_with(adapted, encoded, installed, tmp_path, kind, modifier):
    encoded.clear()
    named = {"prompt.kind": kind, "prompt.modifier": modifier, "prompt.domain": "night"}
    world = trained_on_one_image(adapted, tmp_path / "run", **named)
    (prompt,) = set(encoded)
    world.caption = prompt if kind == "oracle" else None  # of a loose image only its caption names the classes
    texts = every_path(world.run, world, encoded, tmp_path / "out")
    assert texts == {path: [prompt] for path in ("eval", "predict", "explain", "report", "Python")}


@pytest.mark.parametrize("kind", ["class-embs", "averaged-eos", "learned"])
def test_embeddings_are_those_of_the_training(adapted, tmp_path, monkeypatch, kind):
    contexts, forward = [], UNet2DConditionModel.forward

    def spy(self, *given, encoder_hidden_states, **named):
        contexts.append(encoder_hidden_states[:1].detach().clone())
        return forward(self, *given, encoder_hidden_states=encoder_hidden_states, **named)

    monkeypatch.setattr(UNet2DConditionModel, "forward", spy)
    world = trained_on_one_image(adapted, tmp_path / "run", **{"prompt.kind": kind})
    trained = len(contexts)
    evaluated(world.run, folder=str(world.data), split="train")
    predict_images(world.run, [str(world.image)], tmp_path / "out", PredictOptions(), device="cpu", report=quiet)
    PerceptionModel.from_pretrained(world.run).predict(Image.open(world.image).convert("RGB"))
    examine_run(world.run, 1, device="cpu", report=quiet)
    assert trained
    assert len(contexts) == trained + 4
    first = trained - 1 if kind == "learned" else 0  # learned vectors change until the training ends
    for context in contexts[first:]:
        torch.testing.assert_close(context, contexts[first])


class Two:
    """Of a data set only what prompts of captions need."""

    task, classes, ids = "segmentation", ("background", "tree", "red circle"), ("a", "b")
    prompt_names = NAMES


@pytest.mark.parametrize("style", ["grammatical", "reference"])
@pytest.mark.parametrize("modifier", MODIFIERS)
@pytest.mark.parametrize("kind", ["caption", "nouns", "caption+class-names", "caption+presence"])
def test_a_caption_becomes_the_same_prompt_in_and_out_of_a_data_set(kind, modifier, style):
    config = PromptConfig(kind=kind, modifier=modifier, modifier_style=style, domain="night")
    captions = {"a": CAPTION, "b": "a dark night photo of a tree"}
    found = [Presence(NAMES[1:], {i: torch.tensor([0.9, 0.1]) for i in ids}, 0.5) for ids in (Two.ids, ("0", "1"))]
    trained = Prompter(config=config).of_data(Two, None, captions, found[0])
    prompter = Prompter(config=config, names=NAMES)
    record = prompter.to_config()
    if record is not None:
        prompter = Prompter.from_config(json.loads(json.dumps(record)))
    fresh = prompter.of_captions(list(captions.values()), None, found[1])
    assert list(fresh.texts.values()) == list(trained.texts.values())
    if record is None:
        template = make_kind(config, NAMES).modified_template
        assert [template.replace("{caption}", text) for text in captions.values()] == list(trained.texts.values())
    if style == "grammatical" and modifier in ("simple", "textual-inversion"):
        assert all(text.count("night") == 1 for text in trained.texts.values())


def test_without_the_plugin_a_model_refuses_rather_than_prompts_otherwise(adapted, tmp_path):
    model = PerceptionModel.from_pretrained(adapted.run)
    model.config = model.config.__class__(task="segmentation", prompter={"plugin": "absent"})
    with pytest.raises(ValueError, match=r"no 'absent' among the plugins 'tadp.prompters' .* such as tadp-cli"):
        model.encode_captions(["a tree"])
    with pytest.raises(ValueError, match=r"lacks 'kind': use the config\.json that was saved"):
        Prompter.from_config({"plugin": "tadp"})


def test_a_run_records_its_captioner_and_the_settings(adapted):
    data = tomllib.loads((adapted.run / "config.toml").read_text())["data"]
    assert (data["captioner"], data["min_tokens"], data["max_tokens"]) == ("tiny", 12, 77)
    model = json.loads((adapted.run / "config.json").read_text())["model"]
    assert model["captioner"] == "tiny"
    assert model["captioning"] == {"min_new_tokens": 12, "max_new_tokens": 77, "prompt": None}
    assert model["prompter"]["plugin"] == "tadp"


def lines_of(file, *authors):
    """A file of captions, one per author and image, and the recipe that is trained on it."""
    rows = [{"id": i, "caption": f"{i} by {who}", **named} for who, named in enumerate(authors) for i in ("a", "b")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_recipe("scenes-segmentation", (f"data.captions={file}",))


def by(name, least=0):
    return {"captioner": name, "params": f"min={least}_max=60"}


def test_the_author_of_captions_is_taken_from_their_file(tmp_path, caplog):
    recipe = lines_of(tmp_path / "c.jsonl", by("someone/florence", 20))
    data = with_author(recipe).data
    assert (data.captioner, data.min_tokens, data.max_tokens) == ("someone/florence", 20, 60)
    assert with_author(with_author(recipe)).data == data
    assert caplog.text == ""
    assert with_author(lines_of(tmp_path / "c.jsonl", {})).captioner == "unknown"
    other = lines_of(tmp_path / "c.jsonl", by("scenes")).replace(**{"data.captioner": "tiny"})
    assert with_author(other).captioner == "tiny"
    assert "c.jsonl has captions by scenes; images without a caption are captioned by tiny" in caplog.text


def test_of_two_captioners_in_one_file_one_is_chosen(tmp_path):
    recipe, file = lines_of(tmp_path / "c.jsonl", by("tiny")), tmp_path / "c.jsonl"
    with file.open("a") as lines:
        lines.write('{"id": "b", "caption": "corrected by hand"}\n')
    assert with_author(recipe).captioner == "tiny", "a line that names nobody is nobody else's"
    with file.open("a") as lines:
        lines.write('{"id": "b", "caption": "c", "captioner": "blip2"}\n')
    with pytest.raises(ValueError, match=r"captioners, tiny \(1\), blip2 \(1\): choose one with --set data.captioner="):
        with_author(recipe)
    lines_of(tmp_path / "c.jsonl", by("tiny", 3), by("blip2", 9))
    chosen = with_author(recipe.replace(**{"data.captioner": "tiny"}))
    assert (chosen.captioner, chosen.data.min_tokens) == ("tiny", 3)


def test_a_run_whose_captions_nobody_can_write_asks_for_a_captioner(adapted, tmp_path):
    run = shutil.copytree(adapted.run, tmp_path / "run", symlinks=True)
    text = (run / "config.toml").read_text()
    for author, problem in (("scenes", "are by 'scenes', which cannot be loaded"), ("unknown", "name no captioner")):
        (run / "config.toml").write_text(text.replace('captioner = "tiny"', f'captioner = "{author}"'))
        said = tadp("predict", run, adapted.image, "--out", tmp_path / "out", code=2)
        assert f"its captions {problem}: give the text with --caption or --captions, or name a --captioner" in said
        assert "give the text with --caption" in tadp("explain", adapted.image, "--run", run, "--out", "w.png", code=2)
    given = ("--data", adapted.root / "photos", "--split", "train")
    (run / "config.toml").write_text((run / "config.toml").read_text().replace(str(adapted.root / "photos"), "/gone"))
    assert "give captions of these images with --captions" in tadp("eval", run, *given, code=2)


def test_a_run_without_records_uses_what_its_recipe_holds_and_says_so(adapted, encoded, tmp_path, caplog):
    run = shutil.copytree(adapted.run, tmp_path / "run", symlinks=True)
    text = (run / "config.toml").read_text()
    lost = ("max_tokens = 77\n", 'captioner_prompt = ""\n')
    for line in lost:
        text = text.replace(line, "")
    text = re.sub(r'source = ".*backbone"', 'source = "tiny"', text.replace('captioner = "tiny"', 'captioner = ""'))
    (run / "config.toml").write_text(text)
    config = json.loads((run / "config.json").read_text())
    for key in ("prompter", "captioning"):
        del config["model"][key]
    (run / "config.json").write_text(json.dumps(config))
    encoded.clear()
    predict_images(run, [str(adapted.image)], tmp_path / "out", PredictOptions(), device="cpu", report=quiet)
    assert encoded == [adapted.prompt]
    assert caplog.text.count("does not record how its prompts were made") == 1
    assert "new images captioned by tiny (min=12_max=77)" in caplog.text


def test_where_a_model_that_cleaned_the_captions_cannot_be_asked_the_rules_are_named(adapted, tmp_path):
    run = written_like(adapted.run, tmp_path / "run", **{"test.cleaner": "openai:gone"})
    command = ("predict", run, adapted.image, "--out", tmp_path / "out")
    output = tadp(*command, code=2)
    assert "no price is known for model 'gone'" in output
    assert "captions of this run are cleaned by openai:gone, --cleaner rules needs no model" in output
    assert not (tmp_path / "out" / "captions.jsonl").exists(), "before anything is captioned"
    assert "1 predicted" in tadp(*command, "--cleaner", "rules")
    assert json.loads((tmp_path / "out" / "captions.jsonl").read_text())["prompt"] == adapted.prompt
