"""The commands of README.md and of guides run as they are printed, in their order, on a few Scenes.

Only what takes minutes is shortened, by further options.
"""

import shutil
from importlib.util import find_spec

import pytest
from guides import commands
from invoking import tadp

from tadp_cli.inputs import scenes_data
from tadp_heads.data.scenes.write import write_scenes

ONE_STEP = ("--set", "train.steps=1", "--set", "train.batch_size=2")
SHORT = {
    "data scenes": ("--train", "4", "--val", "2"),
    "train": ONE_STEP,
    "adapt": (*ONE_STEP, "--modifier", "null"),
    "personalize": ("--steps", "1", "--set", "held_out_timesteps=1"),
}
"""By command, or by its first two words. `personalize` learns a domain, in one step, so `adapt` does all else."""
PAGES = (
    "README.md",
    "docs/domains.md",
    "docs/offline.md",
    "docs/tracking.md",
    "docs/presence.md",
    "docs/class-maps.md",
)


@pytest.fixture
def folders(tmp_path, monkeypatch):
    """my_data with masks; dusk and photos without."""
    for split, count in (("train", 4), ("val", 2)):
        write_scenes(tmp_path / "my_data", task="segmentation", domain="photo", split=split, count=count, seed=0)
    for name, domain in (("dusk", "night"), ("photos", "photo")):
        write_scenes(tmp_path / name, task="segmentation", domain=domain, split="train", count=3, seed=5)
        shutil.rmtree(tmp_path / name / "masks")
    shutil.copy(tmp_path / "photos" / "images" / "train_00000.png", tmp_path / "photos" / "one.png")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(scenes_data, "IMAGES", {"train": 4, "val": 2, "test": 2})
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_a_page_has_commands_that_can_run(repository, page):
    found = commands(repository / page)
    assert found
    assert {words[0] for words in found} == {"tadp"}


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of tensorboard's own imports
def test_the_commands_of_a_page_run_as_they_are_printed(repository, folders, page):
    if "tracking" in page and find_spec("tensorboard") is None:
        pytest.skip("the extra tadp-heads[tensorboard] is not installed")
    for words in commands(repository / page):
        tadp(*words[1:], *SHORT.get(" ".join(words[1:3]), SHORT.get(words[1], ())))
