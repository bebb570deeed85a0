"""Which names of classes are in prompts, and whether the background is one of them; what runs keep of them."""

import json

import numpy as np
import pytest
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.encoder import word_ids
from tadp_captioning.mentions.words import ClassMentions
from tadp_cli.config.prompt import PromptConfig
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.evaluate import open_run
from tadp_cli.pipelines.train import build_model, load_backbone, train
from tadp_cli.prompts.prompter import Prompter
from tadp_cli.run.resume import with_version
from tadp_cli.run.run import NAMES_FILE, Run
from tadp_heads.data.class_names import object_names
from tadp_heads.data.present_classes import present_classes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.readers.voc_detection import VOC_CLASSES
from tadp_heads.data.registry import open_data

LISTING_PROMPTS = ("class-names", "class-embs", "averaged-eos", "oracle")

FIGURE_S1 = (
    "background airplane bicycle bird boat bottle bus car cat chair cow dining table dog horse motorcycle person "
    "potted plant sheep sofa train television"
)
LABELS = " ".join(VOC_CLASSES)
LABELLED = {"2007_000032": (0, 1, 14, 255), "2007_000033": (0, 20, 11, 15)}


def write(folder, images, masks, labelled):
    (folder / images).mkdir(parents=True, exist_ok=True)
    (folder / masks).mkdir(exist_ok=True)
    for name, labels in labelled.items():
        Image.new("RGB", (64, 64), (90, 140, 60)).save(folder / images / f"{name}.jpg")
        columns = np.repeat(np.array(labels, np.uint8), 64 // len(labels))
        Image.fromarray(np.tile(columns, (64, 1))).save(folder / masks / f"{name}.png")


@pytest.fixture(scope="module")
def voc(tmp_path_factory):
    """Pascal VOC in its official layout: `voc2012:FOLDER`."""
    root = tmp_path_factory.mktemp("voc")
    write(root / "VOC2012", "JPEGImages", "SegmentationClass", LABELLED)
    splits = root / "VOC2012" / "ImageSets" / "Segmentation"
    splits.mkdir(parents=True)
    for split in ("train", "val"):
        (splits / f"{split}.txt").write_text("\n".join(LABELLED))
    return f"voc2012:{root}"


@pytest.fixture(scope="module")
def tiny():
    return DiffusionBackbone.from_pretrained("tiny").freeze()


def recipe_of(voc, kind, *settings):
    small = ("train.steps=1", "train.batch_size=2", "train.warmup=0", "data.val=val")
    return load_recipe("scenes-segmentation", (f"data.folder={voc}", f"prompt.kind={kind}", *small, *settings))


def test_the_prompts_that_list_classes_name_pascals_21(voc, tiny):
    dataset = open_data(voc, split="val")
    prompts = {kind: Prompter(config=PromptConfig(kind=kind)).of_data(dataset, tiny, None) for kind in LISTING_PROMPTS}
    assert set(prompts["class-names"].texts.values()) == {FIGURE_S1}
    words = sum(len(word_ids(tiny.tokenizer, name)) for name in dataset.prompt_names)
    assert prompts["class-embs"].num_tokens == words
    assert prompts["averaged-eos"].num_tokens == 21
    assert prompts["oracle"].texts == {
        "2007_000032": "background airplane motorcycle",
        "2007_000033": "background dining table person television",
    }


def test_an_oracle_draws_objects_and_leaves_the_background(voc, tiny):
    config = PromptConfig(kind="oracle", recall=0.5, precision=0.5)
    texts = Prompter(config=config).of_data(open_data(voc, split="val"), tiny, None).texts
    assert all(text.startswith("background") for text in texts.values())
    assert all(text.count("background") == 1 for text in texts.values())


def test_captions_and_maps_by_class_know_objects_by_the_same_names(voc):
    dataset = open_data(voc, split="val")
    names = object_names(dataset.prompt_names)
    assert " ".join(("background", *names)) == FIGURE_S1
    assert present_classes(dataset)["2007_000032"] == {"airplane", "motorcycle"}
    caption = "an airplane, a motorcycle, a plant and a tv on a table in the background"
    assert ClassMentions(names)(caption) == ["airplane", "dining table", "motorcycle", "potted plant", "television"]
    recipe = recipe_of(voc, "empty", "backbone.map_index=class")
    backbone = load_backbone(recipe, "cpu")
    model = build_model(recipe, backbone, dataset, Prompter(config=recipe.prompt).of_data(dataset, backbone, None))
    words = model.backbone.config.class_words
    assert len(words) == 20
    assert {"airplane", "aeroplane"} <= set(words[0])


@pytest.mark.parametrize(
    "background", ["background", "Background", "_background_", "__background__", "bg", "void", "BG"]
)
@pytest.mark.parametrize("last", [False, True])
def test_prompts_leave_out_the_background_of_users_folders(tmp_path, tiny, background, last):
    write(tmp_path, "images", "masks", {"a": (0, 1, 2, 2)})
    classes = ["traffic_light", "car", background] if last else [background, "traffic_light", "car"]
    (tmp_path / "classes.txt").write_text("\n".join(classes))
    dataset = open_folder(tmp_path)
    assert object_names(dataset.prompt_names) == ("traffic light", "car")
    prompts = {kind: Prompter(config=PromptConfig(kind=kind)).of_data(dataset, tiny, None) for kind in LISTING_PROMPTS}
    assert prompts["class-names"].texts["a"] == prompts["oracle"].texts["a"] == "traffic light car"
    assert prompts["averaged-eos"].num_tokens == 2
    assert dataset.classes == tuple(classes)


def test_class_prompts_are_kept_in_the_run(voc, tmp_path):
    """One without a file of names was trained with those of the labels; other data is named as the run's own."""
    run, other = tmp_path / "run", tmp_path / "mine"
    train(recipe_of(voc, "class-names"), run)
    write(other, "images", "masks", {"a": (0, 1, 1, 14)})
    (other / "classes.txt").write_text("\n".join(("background", *VOC_CLASSES)))
    (other / "val.txt").write_text("a")
    assert json.loads((run / "config.json").read_text())["model"]["prompt"] == FIGURE_S1
    assert set(open_run(run).prompts.texts.values()) == {FIGURE_S1}
    assert json.loads((run / NAMES_FILE).read_text())["aeroplane"] == "airplane"
    there = open_run(run, folder=str(other))
    assert there.prompts.texts == {"a": FIGURE_S1}
    assert present_classes(there.dataset) == {"a": {"airplane", "motorcycle"}}
    (run / NAMES_FILE).unlink()
    assert set(open_run(run).prompts.texts.values()) == {LABELS}


def test_an_older_run_resumes_with_the_names_of_its_labels(voc, tmp_path):
    recipe, run = recipe_of(voc, "class-names").replace(**{"train.precision": "fp32"}), tmp_path / "run"
    run.mkdir()
    Run(run).begin(with_version(recipe))
    train(recipe, run, resume=True)
    assert json.loads((run / "config.json").read_text())["model"]["prompt"] == LABELS
    assert json.loads((run / NAMES_FILE).read_text())["aeroplane"] == "aeroplane"
