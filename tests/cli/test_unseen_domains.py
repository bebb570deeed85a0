"""Runs evaluated on domains of Scenes that they were not trained on, with prompts that name the domain or not."""

import json
import shlex
from dataclasses import replace

import pytest
from rich.console import Console
from typer.testing import CliRunner

from tadp_captioning import get_domain
from tadp_cli.config.paper_tables import DomainTest, load_table
from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.metric_tables import show_reproduction
from tadp_cli.experiments.compare import rows_of_runs
from tadp_cli.experiments.reproduce.plan import Bench, chosen
from tadp_cli.experiments.reproduce.runner import COMMANDS_FILE, reproduce
from tadp_cli.main import app
from tadp_cli.pipelines.evaluate import evaluate_run, open_run
from tadp_heads.data.scenes.scene import TRAINED_DOMAINS, UNSEEN_DOMAINS

ROW = "looks-styles"
METRICS = {
    "mIoU (photo)": DomainTest(domain="photo"),
    "mIoU (neon)": DomainTest(domain="neon"),
    "mIoU (neon, named)": DomainTest(domain="neon", modifier="simple"),
}


@pytest.fixture(scope="module")
def table():
    return replace(load_table("unseen"), metrics=METRICS)


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(out=tmp_path_factory.mktemp("unseen") / "out", train_images=6, scored_images=3, steps=2)


@pytest.fixture(scope="module")
def done(table, bench):
    return reproduce(table, bench, rows=[ROW], seeds=1)


def test_no_row_trains_on_or_names_in_training_an_unseen_domain():
    table = load_table("unseen")
    tested = {how.domain for how in table.metrics.values()}
    assert "comic" in tested
    assert len(tested & set(UNSEEN_DOMAINS)) >= 2
    for row in table.rows:
        recipe = load_recipe(table.recipe_name(row, "miniature"))
        assert set(row.domains.split("+")) <= {*TRAINED_DOMAINS, ""} - {"comic"}
        assert not set(recipe.prompt.styles) & set(UNSEEN_DOMAINS)
        assert recipe.prompt.modifier == "null"
    with pytest.raises(ValueError, match=r"unseen has no rows at the scale full: name another with --scale"):
        chosen(table, "full", ())


def test_a_row_trains_on_its_domains_without_their_words_and_is_evaluated_on_all_others(done, bench):
    run = bench.out / f"runs/{ROW}/seed0"
    own, *others = json.loads((run / "results.json").read_text())["evaluations"]
    assert own["data"].endswith("photo+watercolor+night")
    assert [(entry["data"].split("/")[-1], entry["modifier"], entry.get("domain")) for entry in others] == [
        ("photo", "null", None),
        ("neon", "null", None),
        ("neon", "simple", "neon"),
    ]
    assert list(done[0].metrics.values()) == [entry["metrics"]["mIoU"] for entry in others]
    captions = (bench.out / "captions/photo+watercolor+night_tiny_min0_clean.jsonl").read_text().splitlines()
    said = " ".join(json.loads(line)["caption"] for line in captions)
    assert not any(domain in said for domain in ("watercolor", "night"))
    tests = [row["test"] for row in rows_of_runs([run])]
    assert tests[2:] == ["neon/test (null)", "neon/test (simple) (neon)"]


@pytest.mark.slow
def test_what_is_there_is_not_made_again_and_the_commands_make_the_same(done, table, bench, tmp_path):
    output = []
    assert reproduce(table, bench, rows=[ROW], seeds=1, report=lambda *what: output.append(what[0])) == done
    assert not set(output) & {"features", "train", "evaluate"}
    run = bench.out / f"runs/{ROW}/seed0"
    for line in (bench.out / COMMANDS_FILE).read_text().replace(str(run), str(tmp_path / "hand")).splitlines():
        assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0, line
    assert json.loads((tmp_path / "hand/results.json").read_text()) == json.loads((run / "results.json").read_text())


def test_a_modifier_to_test_with_changes_the_prompts_alone(done, bench):
    run, folder = bench.out / f"runs/{ROW}/seed0", str(bench.out / "data/segmentation/neon")
    captions = bench.out / "captions/neon_tiny_min0_clean.jsonl"
    how = {"folder": folder, "split": "test", "captions": captions, "domain": "neon"}
    plain, named = (open_run(run, **how, modifier=modifier).prompts.texts for modifier in ("null", "simple"))
    template = get_domain("neon").simple
    assert {key: template.format(caption=text) for key, text in plain.items()} == named
    for wrong, message in (
        ({"modifier": "painted"}, "unknown prompt.modifier 'painted'"),
        ({"modifier": "simple", "domain": ""}, "the modifier 'simple' needs a domain"),
        ({"modifier": "textual-inversion"}, "needs prompt.token_file"),
        ({"modifier": "textual-inversion", "token_file": "no.safetensors"}, "no.safetensors: no such file"),
        ({"modifier": "dreambooth"}, "needs the UNet that it tuned: train with it"),
        ({"token_file": "some.safetensors"}, "needs the modifier textual-inversion"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluate_run(run, **{**how, **wrong})


def test_domains_are_columns_with_one_table_per_way_to_name_them(done, table, capsys):
    show_reproduction(Console(width=80), table, "miniature", done)
    unnamed, named = (part.splitlines() for part in capsys.readouterr().out.split("Unseen domains (miniature), ")[1:])
    assert "prompts: null" in unnamed[0]
    assert unnamed[2].replace("┃", " ").split() == ["row", "photo", "neon"]
    assert "prompts: simple" in named[0]
    assert named[2].replace("┃", " ").split() == ["row", "neon"]
    assert f"{100 * done[0].metrics['mIoU (neon, named)']:.1f}" in "".join(named)
