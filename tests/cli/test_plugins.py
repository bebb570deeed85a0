"""The user's own code: a Python file named by --plugin, recorded by the run and never loaded by it."""

import json
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from invoking import tadp

from tadp_cli.config.recipe import load_recipe
from tadp_cli.plugins import check_plugins, given_plugins, load_plugins
from tadp_cli.prompts.kind import PROMPT_KINDS
from tadp_cli.prompts.prompter import Prompter
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.write import write_scenes

pytestmark = pytest.mark.usefixtures("own_registries")


@pytest.fixture(scope="module")
def examples(repository):
    return repository / "examples"


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 4), ("val", 2)):
        write_scenes(root, task="segmentation", domain="photo", split=split, count=count, seed=0)
    return root


def trained(examples, scenes, out, *more):
    sizes = ("train.steps=2", "train.batch_size=2", "train.warmup=1", "prompt.kind=empty")
    settings = [option for setting in ("head.name=linear", *sizes) for option in ("--set", setting)]
    plugin = ("--plugin", examples / "my_head.py")
    return tadp("train", "scenes-segmentation", "--data", scenes, *plugin, *settings, "--out", out, *more)


def test_a_head_of_ones_own_is_trained_evaluated_and_predicts(examples, scenes, tmp_path, own_registries, caplog):
    run, plugin = tmp_path / "run", tmp_path / "moved" / "my_head.py"
    assert "mIoU" in trained(examples, scenes, run)
    config = tomllib.loads((run / "config.toml").read_text())
    assert config["head"] == {"name": "linear"}  # the recipe's settings of the FPN are dropped
    assert len(config["plugins"]["my_head.py"]) == 64
    saved = json.loads((run / "config.json").read_text())["head"]
    assert (saved["name"], saved["dropout"]) == ("linear", 0.1)

    own_registries()  # as in a new process
    loaded = PerceptionModel.from_pretrained(run)  # what Python imported stays registered
    assert type(loaded.head).__name__ == "LinearHead"
    output = tadp("eval", run, code=2)
    assert "config.toml was made with the plugin my_head.py: pass --plugin FILE with the path of my_head.py" in output
    plugin.parent.mkdir()
    plugin.write_text((examples / "my_head.py").read_text().replace('"linear")', '"other")') + "# edited\n")
    out = tmp_path / "predictions"
    picture = scenes / "images" / "val_00000.png"
    assert "1 predicted" in tadp("predict", run, picture, "--out", out, "--plugin", plugin)
    assert "the plugin my_head.py differs from that of" in caplog.text
    assert (out / "val_00000_mask.png").is_file()


def test_choosing_a_head_drops_the_settings_of_the_other(tmp_path):
    chosen = load_recipe("scenes-segmentation", ("head.hidden=3", "head.name=mlp", "train.steps=2"))
    assert chosen.head == {"name": "mlp", "hidden": 3}
    assert chosen.replace(**{"head.hidden": 4}).head == {"name": "mlp", "hidden": 4}
    assert chosen.replace(**{"head.name": "fpn"}).head == {"name": "fpn"}
    file = tmp_path / "mine.toml"
    file.write_text('base = "scenes-segmentation"\n[head]\nname = "mlp"\n')
    assert load_recipe(file, ("head.hidden=5",)).head == {"name": "mlp", "hidden": 5}
    assert load_recipe("scenes-segmentation", ("head.width=8",)).head == {"variant": "ade", "width": 8}


def test_an_unknown_head_is_refused_before_anything_is_written(scenes, tmp_path):
    settings = ("--set", "head.name=linear", "--set", "prompt.kind=empty")
    output = tadp("train", "scenes-segmentation", "--data", scenes, "--out", tmp_path / "run", *settings, code=2)
    assert (
        "unknown segmentation head 'linear' in head.name; choose from fpn, bn-linear, or pass the file that registers"
        in output
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("\n\nimport no_such_module\n", "line 3: ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    return 1 +\n", "line 2: SyntaxError: invalid syntax"),
        ("def f():\n    return {}['a']\n\nf()\n", "line 2: KeyError: 'a'"),
        ("import sys\nsys.exit('no')\n", "line 2: SystemExit: no"),
        (
            "from torch import nn\nfrom tadp_heads import register_head\n\n@register_head('segmentation', 'fpn')\n"
            "class Mine(nn.Module):\n    def __init__(self, levels, num_classes):\n        super().__init__()\n",
            "line 4: ValueError: there is a segmentation head 'fpn' already: register it under another name",
        ),
    ],
)
def test_errors_in_a_plugin_name_its_file_and_line(tmp_path, code, expected):
    file = tmp_path / "broken.py"
    file.write_text(code)
    said = tadp("train", "scenes-segmentation", "--out", tmp_path / "run", "--plugin", file, code=2)
    assert f"error: {file}, {expected}" in said
    assert not any(name.startswith("tadp_plugin_") for name in sys.modules)


def test_an_error_of_a_plugin_at_work_names_its_file_and_line(scenes, tmp_path):
    file = tmp_path / "broken.py"
    file.write_text(
        "from torch import nn\nfrom tadp_heads import register_head\n\n\n@register_head('segmentation', 'broken')\n"
        "class Broken(nn.Module):\n    def __init__(self, levels, num_classes):\n        super().__init__()\n"
        "        self.width = levels[0].width\n"
    )
    settings = ("--set", "head.name=broken", "--set", "prompt.kind=empty", "--plugin", file)
    said = tadp("train", "scenes-segmentation", "--data", scenes, "--out", tmp_path / "run", *settings, code=2)
    assert f"error: {file}, line 9: AttributeError: 'Level' object has no attribute 'width'" in said


def test_plugins_of_one_name_and_missing_files_are_refused(tmp_path):
    first, second = tmp_path / "a.py", tmp_path / "b" / "a.py"
    second.parent.mkdir()
    for file in (first, second):
        file.write_text("")
    with pytest.raises(ValueError, match=r"b/a\.py: a plugin called a\.py is given already"):
        load_plugins([first, second])
    with pytest.raises(ValueError, match=r"no\.py: no such file"):
        load_plugins([tmp_path / "no.py"])
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ValueError, match=r"notes\.txt: expected a Python file, whose name ends in \.py"):
        load_plugins([tmp_path / "notes.txt"])
    load_plugins([first])
    assert set(given_plugins()) == {"a.py"}
    load_plugins([])
    assert given_plugins() == {}


def test_a_module_that_python_imported_counts_as_the_plugin_of_its_name(tmp_path, monkeypatch):
    (tmp_path / "imported_plugin.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ValueError, match=r"run was made with the plugin imported_plugin\.py"):
        check_plugins({"imported_plugin.py": "0"}, "run")
    __import__("imported_plugin")
    check_plugins({"imported_plugin.py": "0"}, "run")
    del sys.modules["imported_plugin"]


def test_a_captioner_of_ones_own_captions(examples, scenes, tmp_path):
    out = tmp_path / "captions.jsonl"
    images = tmp_path / "images"
    images.mkdir()
    shutil.copy(scenes / "images" / "val_00000.png", images)
    plugin = ("--plugin", examples / "my_captioner.py")
    assert "1 captioned" in tadp("caption", images, "--captioner", "colors", "--max-tokens", 3, *plugin, "--out", out)
    record = json.loads(Path(out).read_text())
    assert record["caption"].split()[0] == "a"
    assert len(record["caption"].split()) == 3
    assert (record["captioner"], record["params"]) == ("colors", "min=0_max=3")


def test_a_kind_of_prompt_of_ones_own_is_recorded_and_a_model_without_it_refuses(examples, own_registries):
    load_plugins([examples / "my_prompt.py"])
    recipe = load_recipe("scenes-segmentation", ("prompt.kind=named-classes",))
    assert recipe.needs_captions
    prompter = Prompter.of(recipe, ("", "tree", "star"))
    assert list(prompter.of_captions(["two stars and a red tree"], None).texts.values()) == ["tree star"]
    record = prompter.to_config()
    assert Prompter.from_config(record) == prompter
    own_registries()
    PROMPT_KINDS.data.pop("named-classes")
    with pytest.raises(ValueError, match=r"unknown prompt\.kind 'named-classes'; choose from .* with --plugin"):
        Prompter.from_config(record)
