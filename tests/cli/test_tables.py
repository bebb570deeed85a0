"""The paper's tables: rows are recipes that say what the public code ran; the miniature runs."""

import json
import shlex
from copy import copy
from dataclasses import replace

import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from tadp_backbone import DiffusionBackbone
from tadp_backbone.describe import untrained
from tadp_cli.main import app
from tadp_cli.recipes.recipe import load_recipe
from tadp_cli.recipes.sources import shipped_recipes
from tadp_cli.recipes.tables import load_table, row_names, table_names
from tadp_cli.workflows import reproducing
from tadp_cli.workflows.engine.objective import check_options
from tadp_cli.workflows.reproducing import COMMANDS_FILE, Bench, Score, chosen, reproduce
from tadp_cli.workflows.tables import show_reproduction
from tadp_heads.data.registry import DATASETS, split_name
from tadp_heads.data.scenes_disk import write_scenes
from tadp_heads.tasks import get_task


@pytest.mark.parametrize("name", row_names())
def test_every_row_is_a_recipe_that_reads_back(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "again.toml") == recipe


@pytest.mark.parametrize("name", [name for name in row_names() if "-miniature/" not in name])
def test_every_row_at_full_scale_names_what_exists(name):
    recipe = load_recipe(name)
    task = get_task(recipe.task)
    assert recipe.protocol in task.protocols
    assert recipe.train.transform in task.train_transforms
    for folder, split in ((recipe.data.folder, recipe.data.val), (recipe.test.folder, recipe.test.split)):
        if folder:
            known, _ = split_name(folder)
            assert DATASETS[known].task == recipe.task
            assert split in DATASETS[known].splits
    assert recipe.data.train in DATASETS[split_name(recipe.data.folder)[0]].splits
    assert recipe.train.seed in recipe.seeds


def test_the_paper_s_tables_are_whole():
    counts = {name: sum(bool(row.target) for row in load_table(name).rows) for name in table_names()}
    assert counts == {
        "class-maps-depth": 0,
        "class-maps-detection": 0,
        "class-maps-segmentation": 0,
        "presence": 0,
        "table-1": 9,
        "table-2": 4,
        "table-3": 6,
        "table-4": 12,
        "table-5": 12,
        "table-s1": 10,
        "table-s2": 9,
        "unseen": 0,
    }
    for table in map(load_table, table_names()):
        for row in table.rows:
            assert set(row.target) <= set(table.metrics)
            assert all(0 < value < 1 for value in row.target.values())


def test_rows_that_cannot_be_run_say_why():
    table = load_table("table-3")
    with pytest.raises(ValueError, match=r"row vpd: not at the scale miniature"):
        chosen(table, "miniature", ["vpd"])
    with pytest.raises(ValueError, match=r"row fast-tadp-0: not at the scale miniature: it is a row at the scale full"):
        chosen(table, "miniature", ["fast-tadp-0"])
    with pytest.raises(ValueError, match=r"table-3 has no row 'tadp'; choose from vpd, "):
        chosen(table, "full", ["tadp"])
    with pytest.raises(ValueError, match="unknown scale 'tiny'; choose from full, miniature"):
        Bench(out=None, scale="tiny")
    with pytest.raises(ValueError, match=r"the miniature brings its own data: leave --data"):
        Bench(out=None, data="voc2012:data")


def test_a_table_in_miniature_is_run_once_and_its_commands_make_the_same(tmp_path):
    table = load_table("table-1")
    bench = Bench(out=tmp_path / "out", train_images=6, scored_images=3, steps=2)
    scores = reproduce(table, bench, rows=["nouns-20", "vpd"], seeds=2)
    assert [(score.row, score.seed) for score in scores] == [("vpd", 0), ("vpd", 1), ("nouns-20", 0), ("nouns-20", 1)]
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["rows"][0] == {
        "row": "vpd",
        "seed": 0,
        "metrics": {"mIoU": scores[0].metrics["mIoU"]},
        "target": {"mIoU": 0.8234},
    }

    reports = []
    assert reproduce(table, bench, rows=["vpd"], seeds=2, report=lambda *told: reports.append(told[0])) == scores[:2]
    assert set(reports) == {"table-1"}, "nothing was trained or scored again"


def test_a_target_is_scored_with_cleaned_captions_by_hand_too(tmp_path):
    table = load_table("table-4")
    bench = Bench(out=tmp_path / "out", train_images=6, scored_images=3, steps=2)
    scores = reproduce(table, bench, rows=["dark-zurich-simple"], seeds=1)
    run = tmp_path / "out/runs/dark-zurich-simple/seed0"
    own, target = json.loads((run / "results.json").read_text())["evaluations"]
    assert own["data"].endswith("photo")
    assert target["data"].endswith("night")
    assert scores[0].metrics == {"mIoU": target["metrics"]["mIoU"]}
    captions = (tmp_path / "out/captions/night_tiny_min0_clean.jsonl").read_text()
    assert "night" not in " ".join(json.loads(line)["caption"] for line in captions.splitlines())

    line = (tmp_path / "out" / COMMANDS_FILE).read_text().replace(str(run), str(tmp_path / "hand"))
    assert CliRunner().invoke(app, shlex.split(line)[1:]).exit_code == 0
    assert json.loads((tmp_path / "hand/results.json").read_text())["evaluations"] == [own, target]


def test_at_full_scale_looks_of_scenes_are_no_tests(tmp_path, monkeypatch):
    """On one's own data; small, so that another recipe than the row's is what is trained."""
    for split in ("train", "val"):
        write_scenes(tmp_path / "data", task="segmentation", look="photo", split=split, count=2, seed=0, size=32)
    small = load_recipe("scenes-segmentation", ("train.steps=1", "prompt.kind=oracle", "head.width=16"))
    monkeypatch.setattr(reproducing, "load_recipe", lambda name: small)
    table = load_table("class-maps-segmentation")
    bench = Bench(out=tmp_path / "out", scale="full", data=str(tmp_path / "data"))
    (score,) = reproduce(table, bench, rows=["oracle"], seeds=1)
    assert list(score.metrics) == ["mIoU"]
    assert not (tmp_path / "out" / "data").exists(), "no Scenes are drawn"


@pytest.fixture(scope="module")
def backbones():
    """Stable Diffusion without its weights, and the tiny backbone."""
    return {"sd15": untrained("sd15", device="meta"), "tiny": DiffusionBackbone.from_pretrained("tiny")}


@pytest.mark.parametrize("name", shipped_recipes())
def test_heads_and_losses_of_recipes_fit_their_backbone_s_levels(name, backbones):
    recipe = load_recipe(name)
    backbone = copy(backbones[recipe.backbone.source])
    if not recipe.backbone.attention_maps:
        backbone.config = replace(backbone.config, map_strides=())
    task = get_task(recipe.task)
    with torch.device("meta"):
        head = task.build_head(backbone.levels, ["a", "b", "c"], **recipe.head)
    assert [tuple(level) for level in head.config.levels] == [tuple(level) for level in backbone.levels]
    assert all(parameter.is_meta for parameter in head.parameters())
    check_options(task, recipe.loss_options)


def test_rows_have_heads_of_shipped_recipes():
    def head(name):
        recipe = load_recipe(name)
        return recipe.task, recipe.backbone.source, recipe.backbone.attention_maps, str(recipe.head), str(recipe.loss)

    assert {head(name) for name in row_names()} <= {head(name) for name in shipped_recipes()}


def test_a_table_too_wide_for_the_terminal_goes_on_below(capsys):
    table = load_table("table-3")
    numbers = {name: 0.1 + index / 100 for index, name in enumerate(table.metrics)}
    scores = [Score("tadp-40", 0, numbers), Score("empty", 0, numbers)]
    shown = {}
    for width in (80, 300):
        show_reproduction(Console(width=width), table, "miniature", scores)
        shown[width] = capsys.readouterr().out
        assert "\u2026" not in shown[width]
        assert all(len(line) <= width for line in shown[width].splitlines())
        assert all(shown[width].count(f"{value:.3f}") >= len(scores) for value in numbers.values())
    assert shown[300].count("TADP-40") == 1
    assert shown[80].count("TADP-40") > 1
