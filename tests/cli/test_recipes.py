"""Recipes: typed, checked, settable, and written so that they read back the same."""

import pytest
from typer.testing import CliRunner

from tadp_cli.config.inheritance import line_of, shipped_recipes
from tadp_cli.config.paper_tables import row_names, table_names
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.console.progress import console
from tadp_cli.main import app


@pytest.mark.parametrize("name", shipped_recipes())
def test_every_shipped_recipe_loads_and_reads_back(name, tmp_path):
    recipe = load_recipe(name)
    (tmp_path / "again.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_settings_replace_values_by_dotted_name():
    recipe = load_recipe("scenes-segmentation", ("train.steps=7", "train.flip=false", "data.folder=my data"))
    assert (recipe.train.steps, recipe.train.flip, recipe.data.folder) == (7, False, "my data")


def test_quotes_and_backslashes_survive(tmp_path):
    recipe = Recipe().replace(**{"data.folder": 'a "b" \\ c'})
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "r.toml") == recipe


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("train.stepz=3", "unknown setting 'train.stepz'; choose from steps"),
        ("train.steps=many", "train.steps is 'many', expected int"),
        ("train.steps=0", "train.steps is 0, expected at least 1"),
        ("train=3", "train is 3, expected a table"),
        ("train.flip=1", "flip is 1, expected bool"),
        ("train.steps", "expected key=value"),
        ("prompt.kind=poem", "unknown prompt.kind 'poem'; choose from empty"),
        ("prompt.modifier=simple", "needs prompt.domain"),
        ('prompt={modifier="dreambooth", domain="comic"}', "needs the UNet or the LoRA that was tuned"),
        ("backbone.lora_scale=0.5", "name the LoRA"),
        ("task=pose", "unknown task 'pose'"),
        ("task.x=1", "is no section"),
        ("train.betas=[0.9]", r"train.betas is \[0.9\], expected two numbers"),
        ("train.betas=0.9", "betas is 0.9, expected an array"),
        ("train.freeze=[1]", "freeze is 1, expected str"),
        ("train.groups=mm", "unknown train.groups 'mm'; choose from plain, norms-apart"),
        ("train.precision=half", "unknown train.precision 'half'; choose from auto, fp32, tf32, bf16, fp16"),
        ("train.ema=1", "train.ema is 1.0, expected at least 0 and below 1"),
        ("train.layer_decay=0.9", "train.layer_decay is 0.9: the setting was removed, and only its default 1.0"),
        ("train.min_lr=1", r"train.min_lr is 1.0, expected 0 to train.lr"),
        ("train.accumulate=0", "train.accumulate is 0, expected at least 1"),
        ("train.crops=2", "train.crops needs train.cache"),
        ("train.lora_rank=4", "train.lora_rank needs a UNet that trains"),
        ("target.metrics={mIoU='high'}", "target.metrics.mIoU is 'high', expected float"),
        ("backbone.image_range=hdr", "unknown backbone.image_range 'hdr'"),
    ],
)
def test_a_wrong_setting_is_named(setting, message):
    with pytest.raises(ValueError, match=message) as raised:
        load_recipe("scenes-segmentation", (setting,))
    assert str(raised.value).startswith("--set ")
    assert setting in str(raised.value)


def test_an_unknown_recipe_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown recipe 'nothing'.*scenes-segmentation"):
        load_recipe("nothing")


def test_broken_toml_names_the_file_and_the_line(tmp_path):
    (tmp_path / "bad.toml").write_text("task = \n")
    with pytest.raises(ValueError, match=r"bad\.toml: .*line 1"):
        load_recipe(tmp_path / "bad.toml")


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('task = "depth"\n\n[train]\nlr = 1\nstepz = 3\n', 5, "unknown setting 'train.stepz'"),
        ("seeds = [1]\ntrain.steps = 'many'\n", 2, "train.steps is 'many', expected int"),
        ("# train.stepz\ntrain = { lr = 1e-3, stepz = 3 }\n", 2, "unknown setting 'train.stepz'"),
        ("[data]\n[trian]\nsteps = 3\n", 2, "unknown setting 'trian'"),
        ("description = '''\n[train]\nstepz'''\n[train]\nfreeze = [\n 'a',\n 1]\n", 5, "train.freeze is 1"),
        (
            '[target.metrics]\nd1 = 1\n["target".metrics."x.y"]\nd = 1',
            3,
            "target.metrics.x.y is {'d': 1}, expected float",
        ),
        ('[target.metrics]\nd1 = 1\n"mIoU (ms)" = "a"', 3, r"target.metrics.mIoU \(ms\) is 'a', expected float"),
        ("[train]\nlr = 1\nsteps = 0\n", 3, "train.steps is 0, expected at least 1"),
        ('seeds = [1]\ntask = "pose"\n', 2, "unknown task 'pose'"),
        ('[prompt]\nkind = "caption"\nmodifier = "simple"\n', 3, "needs prompt.domain"),
        ("base = 3\n", 1, "base is 3, expected the name of a recipe"),
        ("\nbase = 'nothing'\n", 2, "unknown recipe 'nothing'"),
    ],
)
def test_an_error_names_the_file_and_the_line(text, line, message, tmp_path):
    (tmp_path / "bad.toml").write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        load_recipe(tmp_path / "bad.toml")
    assert str(raised.value).startswith(f"{tmp_path / 'bad.toml'}, line {line}: ")


def _error(name, *settings):
    with pytest.raises(ValueError, match=": ") as raised:
        load_recipe(name, settings)
    return str(raised.value)


def test_an_error_names_the_file_in_which_the_setting_stands(tmp_path):
    base, heir = tmp_path / "base.toml", tmp_path / "heir.toml"
    base.write_text("[train]\nlr = 1e-3\nmin_lr = 1e-5\nstepz = 3\n")
    heir.write_text('base = "base.toml"\n\n[train]\nlr = 1e-4\n')
    assert _error(heir).startswith(f"{base}, line 4: unknown setting 'train.stepz'")
    base.write_text(base.read_text().replace("stepz", "steps"))
    heir.write_text(heir.read_text() + "min_lr = 1\n")
    assert _error(heir).startswith(f"{heir}, line 5 and {heir}, line 4: train.min_lr is 1.0, expected 0 to train.lr")


def test_an_error_names_every_place_that_it_is_about(tmp_path):
    (tmp_path / "r.toml").write_text("[train]\nmin_lr = 1e-5\n")
    output = _error(tmp_path / "r.toml", "train.lr=1e-3", "train.lr=1e-6")
    assert output.startswith(f"{tmp_path / 'r.toml'}, line 2 and --set train.lr=1e-6: train.min_lr is 1e-05")
    assert _error(tmp_path / "r.toml", "train.steps=0") == (
        "--set train.steps=0: train.steps is 0, expected at least 1"
    )
    # A table's rows are not read from a text of their own.
    output = _error("table-4/dark-zurich-simple", "prompt.domain=")
    start = "recipe table-4/dark-zurich-simple and --set prompt.domain=: prompt.modifier 'simple' needs"
    assert output.startswith(start)


def test_what_is_not_there_has_no_line():
    assert line_of("a = 1\n# b = 2\nc = 'b'\n", ("b",)) is None
    assert line_of("", ("a", "b")) is None


def test_a_recipe_is_its_base_with_changes(tmp_path):
    (tmp_path / "base.toml").write_text(
        'base = "scenes-segmentation"\n[train]\nsteps = 7\nfreeze = ["head.neck.*"]\n'
        "[target]\nmetrics = { mIoU = 0.5 }\n"
    )
    (tmp_path / "heir.toml").write_text('base = "base.toml"\nseeds = [1, 2]\n[train]\nlr = 1\n[head]\nwidth = 8\n')
    recipe = load_recipe(tmp_path / "heir.toml", ("train.keep=3",))
    shipped = load_recipe("scenes-segmentation")
    assert (recipe.train.steps, recipe.train.lr, recipe.train.freeze, recipe.train.keep) == (
        7,
        1.0,
        ("head.neck.*",),
        3,
    )
    assert recipe.head == {**shipped.head, "width": 8}
    assert recipe.seeds == (1, 2)
    assert recipe.train.batch_size == shipped.train.batch_size
    assert recipe.target.metrics == {}, "the base's numbers are not those of other settings"
    assert load_recipe(tmp_path / "base.toml").target.metrics == {"mIoU": 0.5}


def test_bases_that_are_missing_or_go_round_are_named(tmp_path):
    (tmp_path / "a.toml").write_text('base = "b.toml"\n')
    with pytest.raises(ValueError, match=r"unknown recipe 'b\.toml'"):
        load_recipe(tmp_path / "a.toml")
    (tmp_path / "b.toml").write_text('base = "a.toml"\n')
    with pytest.raises(ValueError, match=r"a\.toml -> .*b\.toml -> .*a\.toml: a recipe cannot be its own base"):
        load_recipe(tmp_path / "a.toml")


def test_arrays_and_tables_are_written_so_that_they_read_back(tmp_path):
    changes = {"target.metrics": {"mIoU (ms)": 0.5, "d1": 1}, "train.freeze": ("a", 'b"'), "seeds": (0, 3)}
    recipe = load_recipe("scenes-segmentation").replace(**changes, **{"loss.average": "all"})
    (tmp_path / "r.toml").write_text(recipe.to_toml())
    assert load_recipe(tmp_path / "r.toml") == recipe
    assert recipe.loss == {"average": "all"}


def _listed(only, monkeypatch):
    """Lines of `tadp recipes`, which keeps to 120 columns where the terminal has fewer."""
    monkeypatch.setattr(console, "width", 80)
    result = CliRunner().invoke(app, ["recipes", *only])
    assert result.exit_code == 0, result.output
    return result.output.splitlines()


@pytest.mark.parametrize("only", [(), *((name,) for name in table_names())])
def test_lists_of_recipes_have_the_same_columns_and_fit_120(only, monkeypatch):
    lines = _listed(only, monkeypatch)
    assert lines[0].split() == ["recipe", "task", "data", "prompt", "schedule", "paper"]
    assert all(len(line.rstrip()) <= 120 and "\u2026" not in line for line in lines)
    wanted = shipped_recipes() if not only else {name for name in row_names() if only[0] in name}
    assert set(wanted) <= {line.split(" ")[0] for line in lines[1:]}, "names can be copied"


@pytest.mark.parametrize(
    ("only", "row"),
    [
        ((), "ade20k segm. ade20k caption poly 80k x 16 table-2"),
        ((), "ade20k-4k segm. ade20k caption poly 4k x 16 table-s1, table-s2"),
        ((), "nyuv2 depth nyuv2 caption rise-fall 25.2k x 24 table-3"),
        ((), "voc-comic2k det. voc0712-boxes-xml -> caption constant 828k x 2 table-5"),
        ((), "scenes-segmentation segm. --data caption poly 400 x 8"),
        (("table-1",), "table-1/tadp-0 segm. voc2012 caption poly 19.8k x 8 mIoU 0.864"),
        (("table-4",), "table-4-miniature/dark-zurich-simple segm. --data simple poly 400 x 8"),
    ],
)
def test_a_recipe_is_listed_with_what_decides_it(only, row, monkeypatch):
    assert row.split() in [line.split() for line in _listed(only, monkeypatch)]
