"""`import tadp`: light to import, and its functions do what the commands do."""

import subprocess
import sys

import pytest
import tadp
from PIL import Image

from tadp_heads.data.scenes.write import write_scenes

NAMES = "load_recipe Recipe Run train evaluate predict explain caption personalize adapt"


def test_importing_it_imports_no_torch_and_no_command():
    code = "import sys, tadp; print(sorted({'torch', 'typer', 'numpy', 'tadp_cli.api'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout == "[]\n", done.stdout + done.stderr


def test_the_names_lead_somewhere_and_others_are_errors():
    assert set(tadp.__all__) == set(NAMES.split())
    assert set(tadp.__all__) <= set(dir(tadp))
    assert all(callable(getattr(tadp, name)) for name in tadp.__all__)
    with pytest.raises(AttributeError, match="module 'tadp' has no attribute 'fit'"):
        tadp.fit  # noqa: B018


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Scenes and a run trained on them for two steps."""
    root = tmp_path_factory.mktemp("api")
    for domain, split, count in (("photo", "train", 3), ("photo", "val", 2), ("comic", "test", 1)):
        write_scenes(root / domain, task="segmentation", domain=domain, split=split, count=count, seed=0)
    settings = (f"data.folder={root / 'photo'}", "train.steps=2", "train.batch_size=2", "head.width=8")
    return root, tadp.train(tadp.load_recipe("scenes-segmentation", settings), root / "run", device="cpu")


def test_a_run_is_trained_evaluated_and_predicts(world, tmp_path):
    root, run = world
    assert (run.recipe.train.steps, len(run.evaluations)) == (2, 1)
    metrics = tadp.evaluate(run, data=root / "comic", split="test", domain="comic", device="cpu")
    assert metrics == run.evaluations[1]["metrics"] == run.results["evaluations"][1]["metrics"]
    done = tadp.predict(run, [root / "comic" / "images"], tmp_path / "out", device="cpu")
    assert len(done.written) == 1
    assert run.load_model().config.task == "segmentation"
    assert repr(tadp.Run(run)) == f"Run({str(root / 'run')!r})"


def test_words_are_explained_and_images_captioned(world, tmp_path):
    root, _ = world
    image = root / "comic" / "images" / "test_00000.png"
    (found,) = tadp.explain(image, tmp_path / "words.png", caption="a red circle", device="cpu")
    assert [word for word, _ in found.peaks] == ["a", "red", "circle"]
    with Image.open(tmp_path / "words.png") as sheet:
        assert sheet.width > 100
    store = tadp.caption(image, tmp_path / "captions.jsonl", captioner="tiny", device="cpu")
    assert len(store) == 1


def test_a_token_is_learned_of_a_folder(world, tmp_path):
    root, _ = world
    how = {"backbone": "tiny", "steps": 1, "device": "cpu"}
    token = tadp.personalize("comic", tmp_path / "token", images=root / "photo" / "images", **how)
    assert token.finished
    assert token.token == "<comic>"


def test_wrong_use_is_one_line(world, tmp_path):
    root, run = world
    with pytest.raises(ValueError, match="unknown device 'gpu9'"):
        tadp.evaluate(run, device="gpu9")
    with pytest.raises(ValueError, match=r"needs (a|prompt\.)domain|unknown domain"):
        tadp.adapt("scenes-segmentation", root / "photo", root / "comic", tmp_path / "a", domain="", device="cpu")
