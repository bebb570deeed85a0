"""The paper's recipes as they ship, at their own image sizes and by their protocols, on a narrow Stable Diffusion."""

import json
import math
from copy import deepcopy

import pytest
from full_scale import CAPTION, write_bench

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.encoder import word_ids
from tadp_captioning import CaptionStore, get_domain, modify
from tadp_cli.config.inheritance import shipped_recipes
from tadp_cli.config.paper_tables import load_table, row_names
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.predict import PredictOptions, predict_images
from tadp_cli.pipelines.train import load_token
from tadp_cli.pipelines.train_and_evaluate import evaluate_once, run_experiment
from tadp_cli.prompts.prompter import Prompter
from tadp_heads.data.registry import open_data

NOT_OF_THE_PAPER = ("segmentation", "depth", "detection", "cityscapes-night")
RECIPES = [name for name in shipped_recipes() if not name.startswith("scenes-") and name not in NOT_OF_THE_PAPER]
ROWS = [name for name in row_names() if name.startswith(("table-", "figure-3/")) and "-miniature/" not in name]
DATA = {
    "table-1/": ("voc2012 trainaug", "voc2012 val"),
    "table-2/": ("ade20k train", "ade20k val"),
    "table-3/": ("nyuv2 train", "nyuv2 test"),
    "table-4/dark-zurich-": ("cityscapes train", "dark-zurich val"),
    "table-4/nighttime-driving-": ("cityscapes train", "nighttime-driving test"),
    "table-5/watercolor-": ("voc0712-boxes-xml trainval", "watercolor2k test"),
    "table-5/comic-": ("voc0712-boxes-xml trainval", "comic2k test"),
    "table-s1/": ("ade20k train", "ade20k val"),
    "table-s2/": ("ade20k train", "ade20k val"),
    "figure-3/pascal-": ("voc2012 trainaug", "voc2012 val"),
    "figure-3/ade20k-": ("ade20k train", "ade20k val"),
    "figure-3/nyuv2-": ("nyuv2 train", "nyuv2 test"),
}
"""What the rows of each table are trained on, and evaluated on last."""

_MANY_NAMES = ("table-2/", "table-s1/", "figure-3/")
MANY_TEXTS = [name for name in ROWS if name.startswith(_MANY_NAMES) and name.endswith(("vpd", "vpd-ls"))]
"""Rows that encode the names of ADE20K or Pascal in 80 sentences each; Pascal's are in Table 1 too."""


def different_rows():
    """One row of a table for each way in which rows prompt, encode and are evaluated; Figure 3 has rows of tables."""
    rows = {}
    for name in (name for name in ROWS if name.startswith("table-")):
        recipe = load_recipe(name)
        backbone, protocols = recipe.backbone, tuple(load_table(name.partition("/")[0]).metrics.values())
        encoded = (backbone.posterior, backbone.latent_scale, backbone.text_adapter, bool(backbone.unet))
        prompted = (recipe.prompt.kind, recipe.prompt.modifier, recipe.prompt.precision < 1)
        rows.setdefault((recipe.task, recipe.protocol, protocols, *encoded, *prompted), name)
    return list(rows.values())


class StoppedError(Exception):
    """In place of a kill."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return write_bench(tmp_path_factory.mktemp("bench"))


def _train(recipe, run):
    """Two steps, stopped between them and resumed, and the evaluations that follow."""

    def stop_after_a_step(what, done, total):
        if (what, done) == ("train", 1):
            raise StoppedError

    with pytest.raises(StoppedError):
        run_experiment(recipe, run, report=stop_after_a_step)
    results = run_experiment(recipe, run, resume=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert all(math.isfinite(line["loss"]) and math.isfinite(line["grad_norm"]) for line in lines)
    places = [(recipe.data.folder, recipe.data.val)]
    if recipe.test.folder:
        splits = [f"{condition}/{recipe.test.split}" for condition in recipe.test.conditions]
        splits.append(f"mean of {', '.join(splits)}" if splits else recipe.test.split)
        places += [(recipe.test.folder, split) for split in splits]
    assert [(entry["data"], entry["split"]) for entry in results["evaluations"]] == places
    return results


def _train_evaluate_and_predict(bench, folder, recipe):
    run = folder / "run"
    results = _train(recipe, run)
    again = evaluate_run(run)["metrics"]
    assert again == pytest.approx(results["evaluations"][0]["metrics"], rel=1e-3, abs=1e-4, nan_ok=True)
    caption = "bathroom" if recipe.prompt.kind == "room-type" else CAPTION
    captioned = recipe.needs_captions or recipe.prompt.kind in ("oracle", "room-type")
    options = PredictOptions(caption=caption if captioned else None)
    images, out = [str(bench.image(recipe))], folder / "predictions"
    done = predict_images(run, images, out, options, device="cpu", report=lambda *_: None)
    assert (len(done.written), done.failed) == (1, {})
    return run


@pytest.mark.slow
def test_nyuv2_trains_resumes_and_is_evaluated_at_its_own_size(bench, tmp_path):
    """480 pixels are no multiple of 64; the protocol has two windows, each mirrored."""
    recipe = bench.recipe("nyuv2")
    assert (recipe.train.size, recipe.protocol) == (480, "nyu-eigen")
    results = _train(recipe, tmp_path / "run")
    assert 0 < results["evaluations"][0]["metrics"]["rmse"] < 10


@pytest.mark.slow
@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_trains_resumes_evaluates_and_predicts(bench, tmp_path, name):
    _train_evaluate_and_predict(bench, tmp_path, bench.recipe(name))


@pytest.mark.slow
@pytest.mark.parametrize("name", different_rows())
def test_a_row_of_a_table_runs_and_is_evaluated_by_all_its_protocols(bench, tmp_path, name):
    recipe = bench.recipe(name)
    run = _train_evaluate_and_predict(bench, tmp_path, recipe)
    for protocol in load_table(name.partition("/")[0]).metrics.values():
        assert all(math.isfinite(value) for value in evaluate_once(run, recipe, protocol).values())


@pytest.fixture(scope="module")
def backbone(bench):
    return DiffusionBackbone.from_pretrained(bench.model)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in MANY_TEXTS else n for n in ROWS])
def test_a_row_resolves_to_its_data_its_prompts_and_its_domain(bench, backbone, name):
    recipe = bench.recipe(name)
    trained_on, evaluated_on = DATA[max((start for start in DATA if name.startswith(start)), key=len)]
    test = recipe.test
    last = (test.folder, test.split) if test.folder else (recipe.data.folder, recipe.data.val)
    assert f"{recipe.data.folder.partition(':')[0]} {recipe.data.train}" == trained_on
    assert f"{last[0].partition(':')[0]} {last[1]}" == evaluated_on
    captions = CaptionStore.read(bench.root / "captions.jsonl") if recipe.needs_captions else None
    if recipe.prompt.token_file:
        backbone = deepcopy(backbone)
        load_token(backbone, recipe.prompt.token_file)
    for folder, split in {(recipe.data.folder, recipe.data.train), last}:
        dataset = open_data(folder, recipe.task, split)
        prompts = Prompter(config=recipe.prompt).of_data(dataset, backbone, captions)
        context = prompts.context(backbone, dataset.ids[:1])
        assert context.shape[::2] == (1, 32)
        assert context.shape[1] == (prompts.num_tokens or 77)
        _check_modifier(recipe, backbone, prompts.texts.get(dataset.ids[0]))


def _check_modifier(recipe, backbone, text):
    """Words of the caption under the row's modifier; a learned token becomes as many tokens as it has vectors."""
    if not recipe.prompt.domain or recipe.prompt.kind != "caption":
        return
    domain, modifier = recipe.prompt.domain, recipe.prompt.modifier
    assert text == modify(CAPTION, domain, modifier)
    learned = modifier == "textual-inversion"
    assert (get_domain(domain).token in text) == learned
    if learned:
        assert len(word_ids(backbone.tokenizer, f"{get_domain(domain).token} cat")) == 3, "two vectors, cat"
