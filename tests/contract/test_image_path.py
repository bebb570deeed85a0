"""An image's path from its file to the loss: the files of the five packages that a step of training runs in between."""

import re
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
from official_layouts import voc_segmentation

from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.train import build_model, load_backbone
from tadp_cli.prompts.builder import Prompts, training_contexts
from tadp_heads.data.registry import open_data
from tadp_heads.segmentation.transforms import TRAIN_TRANSFORMS
from tadp_heads.training import fit

MOST_FILES = 19
"""Reached, with all helpers; a change that needs one more shows where else one is saved."""
FIRST, LAST = "open_stored", "Objective.forward"


def files_between(run: Callable[[], object], root: Path) -> list[str]:
    """Files below `root` of which code runs from the call of FIRST to the return of LAST, at its last time in `run`."""
    found: dict[str, None] = {}
    path: list[str] = []
    inside = False

    def note(frame, event, _):
        nonlocal inside, path
        file, name = frame.f_code.co_filename, frame.f_code.co_qualname
        if not file.startswith(str(root)):
            return
        if (event, name) == ("call", FIRST) and not inside:
            inside = True
            found.clear()
        if inside:
            found[Path(file).relative_to(root).as_posix().partition("/src/")[2]] = None
        if (event, name) == ("return", LAST):
            inside, path = False, list(found)

    sys.setprofile(note)
    try:
        run()
    finally:
        sys.setprofile(None)
    return path


@pytest.fixture(scope="module")
def path_of_an_image(repository, tmp_path_factory) -> list[str]:
    """Of the recipe voc2012, in a process of its own: what ran before in this one may have changed how it is traced."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as other:
        return other.submit(files_of_training, tmp_path_factory.mktemp("path"), repository / "packages").result()


def files_of_training(root: Path, packages: Path) -> list[str]:
    """With all that a pixel and a caption meet: transforms, UNet, maps, head and loss."""
    voc_segmentation(root / "voc", "train")
    fixed = ("backbone.source=tiny", "train.steps=2", "train.batch_size=1", "train.accumulate=1", "train.workers=0")
    recipe = load_recipe("voc2012", (*fixed, "train.size=64", "head.width=64"))
    transform = TRAIN_TRANSFORMS[recipe.train.transform](recipe.train.size)
    data = open_data(f"voc2012:{root / 'voc'}", "segmentation", "train", transform)
    backbone, prompts = load_backbone(recipe, "cpu"), Prompts(dict.fromkeys(data.ids, "a dog on grass"))
    model, contexts = build_model(recipe, backbone, data, prompts), training_contexts(prompts, backbone)
    return files_between(lambda: fit(model, data, contexts, recipe.train, root / "out", loss=recipe.loss), packages)


def test_the_path_of_an_image_is_short(path_of_an_image):
    assert 0 < len(path_of_an_image) <= MOST_FILES, path_of_an_image


def test_the_path_of_an_image_is_the_documented_one(path_of_an_image, repository):
    page = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    section = page.partition("## The path of an image")[2].partition("\n## ")[0]
    assert set(path_of_an_image) == set(re.findall(r"`(tadp_\w+/[\w/]+\.py)`", section))
