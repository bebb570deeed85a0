"""The paper's tables: rows are recipes of what the public code ran; the small-scale ones run."""

import json
import re
import shlex
from copy import copy
from dataclasses import replace

import pytest
import torch
from invoking import tadp
from rich.console import Console
from surface import assert_frozen, key_lines
from typer.main import get_command
from typer.testing import CliRunner

from tadp_backbone import DiffusionBackbone
from tadp_backbone.summary import untrained
from tadp_cli.config.inheritance import shipped_recipes
from tadp_cli.config.paper_tables import load_table, row_names, table_names
from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.metric_tables import show_reproduction
from tadp_cli.experiments.reproduce import plan as reproduction_plan
from tadp_cli.experiments.reproduce import runner
from tadp_cli.experiments.reproduce.commands import commands_of
from tadp_cli.experiments.reproduce.plan import Bench, chosen, plan_runs
from tadp_cli.experiments.reproduce.runner import COMMANDS_FILE, RowResult, averages_of, reproduce
from tadp_cli.inputs.prepare import domain_settings
from tadp_cli.main import app
from tadp_cli.pipelines import personalize
from tadp_heads.data.registry import DATASETS, split_name
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.tasks import get_task
from tadp_heads.training.loss import check_options
from tadp_personalize.presets import PRESETS


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
    counts = {name: sum(bool(row.target and row.scales) for row in load_table(name).rows) for name in table_names()}
    assert counts == {
        "backbones": 0,
        "class-maps-depth": 0,
        "class-maps-detection": 0,
        "class-maps-segmentation": 0,
        "controls": 0,
        "figure-3": 11,
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


def test_rows_that_the_paper_quotes_are_listed_with_their_numbers_and_not_run(capsys):
    counts = {name: sum(row.reported for row in load_table(name).rows) for name in table_names()}
    quoted = {"table-2": 8, "table-3": 5, "table-4": 3, "table-5": 15, "table-s1": 2}
    assert {name: count for name, count in counts.items() if count} == quoted
    table = load_table("table-4")
    with pytest.raises(ValueError, match="dark-zurich-ptdiffseg: the paper quotes it from other work; it cannot"):
        chosen(table, "full", ["dark-zurich-ptdiffseg"])
    assert not any("ptdiffseg" in name for name in row_names())
    assert len(chosen(table, "full", [])) == 12
    done = [RowResult("dark-zurich-null", 42, {"mIoU": 0.4})]
    show_reproduction(Console(width=200), table, "full", done)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "PTDiffSeg" in line)
    assert line.replace("│", " ").split() == ["Dark", "Zurich:", "PTDiffSeg", "(reported)", "37.0"]
    show_reproduction(Console(width=200), table, "miniature", done)
    assert "PTDiffSeg" not in capsys.readouterr().out, "no number of another scale"


def test_averages_over_both_targets_are_those_of_the_text(capsys):
    """Section 4.3 prints means of Tables 4 and 5; that of the null modifier differs by 0.35 from its table's rows."""
    for name, apart in (("table-4", 0.0036), ("table-5", 0.0006)):
        table = load_table(name)
        rows = {row.name: row.target for row in table.rows}
        for average in table.averages:
            for metric, value in average.target.items():
                assert value == pytest.approx(sum(rows[row][metric] for row in average.rows) / 2, abs=apart)
    table = load_table("table-5")
    done = [
        RowResult(row, seed, {"AP": ap, "AP50": 2 * ap})
        for row, seed, ap in (("watercolor-null", 0, 0.2), ("comic-null", 0, 0.4), ("watercolor-null", 1, 0.3))
    ]
    show_reproduction(Console(width=200), table, "miniature", done)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "both:" in line)
    assert line.replace("│", " ").split() == ["both:", "TADP", "null", "36.6", "30.0", "60.0"]
    assert averages_of(table, done[:1]) == {}


def test_figure_3_has_its_three_data_sets_and_each_its_metric(tmp_path, capsys):
    table = load_table("figure-3")
    recipes = {row.name: load_recipe(f"figure-3/{row.name}") for row in table.rows}
    for start, task in (("pascal-", "segmentation"), ("ade20k-", "segmentation"), ("nyuv2-", "depth")):
        own = {name.removeprefix(start): recipe for name, recipe in recipes.items() if name.startswith(start)}
        assert list(own) == ["vpd", "vpd-ls", "tadp-0", "tadp-20", "tadp-40"]
        assert {recipe.task for recipe in own.values()} == {task}
        assert [own[name].data.min_tokens for name in ("tadp-0", "tadp-20", "tadp-40")] == [0, 20, 40]
        assert own["vpd"].backbone.latent_scale == 1
    bench = Bench(out=tmp_path, scale="full", data=("nyuv2:/n", "ade20k:/a"))
    folders = dict.fromkeys(recipe.data.folder for _, recipe, _ in plan_runs(table, bench))
    assert list(folders) == ["voc2012:data/voc2012", "ade20k:/a", "nyuv2:/n"]
    done = [RowResult("pascal-tadp-40", 42, {"mIoU": 0.8}), RowResult("nyuv2-tadp-40", 42, {"rmse": 0.3})]
    show_reproduction(Console(width=200), table, "full", done)
    shown = capsys.readouterr().out.replace("│", " ").splitlines()
    assert [line.split()[2:] for line in shown if "TADP-40" in line] == [["87.1", "80.0"], ["0.225", "0.300"]]


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
    with pytest.raises(ValueError, match=r"--scale miniature brings its own data: leave --data"):
        Bench(out=None, data=("voc2012:data",))


TARGETS = {
    "dark-zurich-": ("dark-zurich", "night"),
    "nighttime-driving-": ("nighttime-driving", "night"),
    "watercolor-": ("watercolor2k", "watercolor"),
    "comic-": ("comic2k", "comic"),
}
"""{how names of rows begin: (data set on which they are evaluated, domain that they learn)}."""


@pytest.mark.parametrize("name", ["table-4", "table-5"])
def test_each_row_is_evaluated_on_its_own_target_and_learns_its_own_domain(name, tmp_path):
    """A single --target once went to the rows of both targets, which mixed up their numbers."""
    table = load_table(name)
    own = {
        row.name: next((start, *target) for start, target in TARGETS.items() if row.name.startswith(start))
        for row in table.rows
    }
    bench = Bench(
        out=tmp_path,
        scale="full",
        data=({"table-4": "cityscapes:/cs", "table-5": "voc0712-boxes-xml:/voc"}[name],),
        targets=tuple({f"{target}:/{target}" for _, target, _ in own.values()}),
        images={domain: tmp_path for _, _, domain in own.values()},
    )
    plan = plan_runs(table, bench)
    assert len(plan) == 12
    for row, recipe, _ in plan:
        start, target, domain = own[row.name]
        assert recipe.test.folder == f"{target}:/{target}"
        assert (recipe.data.folder,) == bench.data
        assert recipe.prompt.domain == domain
        assert recipe.prompt.modifier == row.name.removeprefix(start)
        if domain == "night":
            assert recipe.personalize.images == "dark-zurich:/dark-zurich", (
                "learned once, for both of Table 4's targets"
            )
        else:
            assert recipe.personalize.images == f"{target}:/{target}"
    one = Bench(out=tmp_path, scale="full", targets=bench.targets[:1])
    folders = {recipe.test.folder for _, recipe, _ in plan_runs(table, one)}
    assert len(folders) == 2, "the rows of the other target keep their own"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"targets": ("watercolor2k:a",)},
            "--target watercolor2k:a: expected dark-zurich:FOLDER or nighttime-driving:",
        ),
        ({"targets": ("some/folder",)}, "--target some/folder: expected dark-zurich:FOLDER"),
        ({"targets": ("dark-zurich:a", "dark-zurich:b")}, "names dark-zurich twice, dark-zurich:a and dark-zurich:b"),
        (
            {"targets": ("comic2k:c",)},
            "expected dark-zurich:FOLDER or nighttime-driving:FOLDER, which these rows are evaluated on or learn from",
        ),
        ({"data": ("acdc:data",)}, "--data acdc:data: expected cityscapes:FOLDER, which these rows train on"),
        ({"images": {"comic": "c"}}, "--images comic=c: no row learns the domain 'comic'; they learn night"),
        ({"settings": ("test.folder=x",)}, "--set test.folder=x: a table's rows keep test.folder; use --target"),
    ],
)
def test_no_row_is_evaluated_on_another_data_set_than_its_own(options, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        plan_runs(load_table("table-4"), Bench(out=tmp_path, scale="full", **options))


def test_options_per_data_set_and_per_domain_are_repeatable(tmp_path):
    command = ("reproduce", "table-5", "--scale", "full", "--out", tmp_path, "--row", "comic-textual-inversion")
    said = tadp(*command, "--target", "comic2k:c", "--images", "watercolor=w", "--images", "comic=c", code=2)
    assert "--images watercolor=w: no row learns the domain 'watercolor'; they learn comic" in said
    assert "--images 'c': expected DOMAIN=FOLDER" in tadp(*command, "--images", "c", code=2)
    said = tadp(*command, "--target", "comic2k:c", "--data", f"voc0712-boxes-xml:{tmp_path}", code=2)
    assert "no folder c (--target comic2k:FOLDER); no images of the domain comic at comic2k:c" in said


def test_a_small_scale_table_is_run_once_and_its_commands_make_the_same(tmp_path):
    table = load_table("table-1")
    bench = Bench(out=tmp_path / "out", train_images=6, scored_images=3, steps=2)
    done = reproduce(table, bench, rows=["nouns-20", "vpd"], seeds=2)
    assert [(one.row, one.seed) for one in done] == [("vpd", 0), ("vpd", 1), ("nouns-20", 0), ("nouns-20", 1)]
    results = json.loads((tmp_path / "out/results.json").read_text())
    assert results["rows"][0] == {
        "row": "vpd",
        "seed": 0,
        "metrics": {"mIoU": done[0].metrics["mIoU"]},
        "target": {"mIoU": 0.8234},
    }
    assert_frozen("reproduce", key_lines(tmp_path / "out", "results.json"))

    reports = []
    assert reproduce(table, bench, rows=["vpd"], seeds=2, report=lambda *what: reports.append(what[0])) == done[:2]
    assert set(reports) == {"table-1"}, "nothing was trained or evaluated again"


def test_a_target_is_evaluated_with_cleaned_captions(tmp_path):
    table = load_table("table-4")
    bench = Bench(out=tmp_path / "out", train_images=6, scored_images=3, steps=2)
    done = reproduce(table, bench, rows=["dark-zurich-simple"], seeds=1)
    run = tmp_path / "out/runs/dark-zurich-simple/seed0"
    own, target = json.loads((run / "results.json").read_text())["evaluations"]
    assert own["data"].endswith("photo")
    assert target["data"].endswith("night")
    assert done[0].metrics == {"mIoU": target["metrics"]["mIoU"]}
    captions = (tmp_path / "out/captions/night_tiny_min0_clean.jsonl").read_text()
    assert "night" not in " ".join(json.loads(line)["caption"] for line in captions.splitlines())


def by_hand(out, hand):
    """Run the printed commands on the same Scenes, into another folder."""
    hand.mkdir()
    (hand / "data").symlink_to(out / "data")
    for images in out.glob("domains/*/images"):
        (hand / images.relative_to(out).parent).mkdir(parents=True)
        (hand / images.relative_to(out)).symlink_to(images)
    for line in (out / COMMANDS_FILE).read_text().replace(str(out), str(hand)).splitlines():
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}\n{result.output}"


def evaluated(out, row):
    return [
        entry["metrics"] for entry in json.loads((out / f"runs/{row}/seed0/results.json").read_text())["evaluations"]
    ]


@pytest.mark.parametrize(
    "row", ["dark-zurich-simple", pytest.param("dark-zurich-textual-inversion", marks=pytest.mark.slow)]
)
def test_the_printed_commands_make_the_same_from_captions_to_metrics(row, tmp_path, monkeypatch):
    """They list the captions, their cleaning and the personalization too, and every setting."""
    short = {method: replace(config, steps=2, warmup=0) for method, config in PRESETS["miniature"].items()}
    monkeypatch.setitem(PRESETS, "miniature", short)
    monkeypatch.setattr(personalize, "HELD_OUT", 2)
    monkeypatch.setattr(runner, "DOMAIN_IMAGES", 3)
    small = {"train_images": 4, "scored_images": 3, "steps": 1, "settings": ("train.flip=false", "train.batch_size=2")}
    bench = Bench(out=tmp_path / "out", **small)
    if row.endswith("simple"):
        with pytest.raises(ValueError, match=r"--fit 0.1GB is too little for this recipe"):
            reproduce(load_table("table-4"), replace(bench, fit="100MB"), rows=[row], seeds=1)
        bench = replace(bench, fit="8GB")
    reproduce(load_table("table-4"), bench, rows=[row], seeds=1)
    by_hand(tmp_path / "out", tmp_path / "hand")
    for found, again in zip(evaluated(tmp_path / "out", row), evaluated(tmp_path / "hand", row), strict=True):
        assert again == pytest.approx(found)
    recipes = [load_recipe(tmp_path / side / f"runs/{row}/seed0/config.toml") for side in ("out", "hand")]
    assert recipes[0].train == recipes[1].train
    assert not recipes[0].train.flip


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        (
            "table-4/nighttime-driving-textual-inversion",
            [
                "caption cityscapes:data/cityscapes .* --split train",
                "caption cityscapes:data/cityscapes .* --split val",
                "caption nighttime-driving:data/nighttime-driving .* --split test",
                "captions clean .*/nighttime-driving_blip2_min0.jsonl .* --domain night",
                "personalize --domain night --method textual-inversion --backbone sd15 "
                "--images dark-zurich:data/dark-zurich --split train/night --count 500 ",
                "train table-4/nighttime-driving-textual-inversion .*--set prompt.token_file=",
            ],
        ),
        (
            "table-2/tadp-40",
            [
                "caption ade20k:data/ade20k --captioner blip2 --min-tokens 40 .* --split train",
                "caption ade20k:data/ade20k --captioner blip2 --min-tokens 40 .* --split val",
                "train table-2/tadp-40 .*--set data.captions=",
                "eval .* --protocol ade-ms-flip",
            ],
        ),
    ],
)
def test_the_commands_of_a_row_at_full_scale_are_whole_and_taken(name, lines, tmp_path):
    table, row = load_table(name.partition("/")[0]), name.partition("/")[2]
    bench = Bench(out=tmp_path, scale="full")
    (planned,) = plan_runs(table, bench, [row])
    changes = {"data.captions": str(tmp_path / "captions/a.jsonl")}
    if planned.recipe.test.folder:
        changes["test.captions"] = str(tmp_path / "captions/b.jsonl")
        changes |= domain_settings(tmp_path, "night", "textual-inversion")
    found = commands_of(table, planned, planned.recipe.replace(**changes), bench, {})
    assert len(found) == len(lines)
    for line, wanted in zip(found, lines, strict=True):
        assert re.match(f"tadp {wanted}", line), line
        command, arguments = get_command(app), shlex.split(line)[1:]
        while hasattr(command, "commands"):
            command = command.commands[arguments.pop(0)]
        command.make_context(command.name, arguments)


def test_at_full_scale_looks_of_scenes_are_no_tests(tmp_path, monkeypatch):
    """On one's own data; small, so that another recipe than the row's is what is trained."""
    for split in ("train", "val"):
        write_scenes(tmp_path / "data", task="segmentation", domain="photo", split=split, count=2, seed=0, size=32)
    small = load_recipe("scenes-segmentation", ("train.steps=1", "prompt.kind=oracle", "head.width=16"))
    monkeypatch.setattr(reproduction_plan, "load_recipe", lambda *_: small)
    table = load_table("class-maps-segmentation")
    bench = Bench(out=tmp_path / "out", scale="full", data=(str(tmp_path / "data"),))
    (one,) = reproduce(table, bench, rows=["oracle"], seeds=1)
    assert list(one.metrics) == ["mIoU"]
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
    check_options(task, recipe.loss)


def test_rows_have_heads_of_shipped_recipes():
    def head(name):
        recipe = load_recipe(name)
        return recipe.task, recipe.backbone.source, recipe.backbone.attention_maps, str(recipe.head), str(recipe.loss)

    own = ("-no-maps",), ("backbones",)  # rows whose heads are their own
    rows = [name for name in row_names() if not (name.endswith(own[0]) or name.startswith(own[1]))]
    assert {head(name) for name in rows} <= {head(name) for name in shipped_recipes()}


def test_a_table_too_wide_for_the_terminal_continues_below(capsys):
    table = load_table("table-3")
    numbers = {name: 0.1 + index / 100 for index, name in enumerate(table.metrics)}
    done = [RowResult("tadp-40", 0, numbers), RowResult("empty", 0, numbers)]
    shown = {}
    for width in (80, 300):
        show_reproduction(Console(width=width), table, "miniature", done)
        shown[width] = capsys.readouterr().out
        assert "\u2026" not in shown[width]
        assert all(len(line) <= width for line in shown[width].splitlines())
        assert all(shown[width].count(f"{value:.3f}") >= len(done) for value in numbers.values())
    assert shown[300].count("TADP-40") == 1
    assert shown[80].count("TADP-40") > 1
