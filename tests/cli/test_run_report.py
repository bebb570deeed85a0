"""`tadp report`: the page about runs, from runs on disk."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from invoking import tadp
from PIL import Image

from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines import error_analysis
from tadp_cli.pipelines.error_analysis import examine_run, extremes, loss_curve, prediction_overlays, word_maps
from tadp_cli.pipelines.report import recipe_of_package, run_names
from tadp_cli.report import prediction_sheet
from tadp_cli.report.grouping import group_rows, task_tables
from tadp_cli.report.prediction_sheet import write_prediction_sheet
from tadp_cli.report.runs_page import runs_html
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two segmentation runs and a depth run, hardly trained."""
    root = tmp_path_factory.mktemp("world")
    for task in ("segmentation", "depth"):
        for split, count in (("train", 2), ("val", 4)):
            write_scenes(root / task, task=task, domain="photo", split=split, count=count, seed=0)
    settings = ("train.steps=2", "train.batch_size=2", "train.flip=false")
    small = {"segmentation": "head.width=16", "depth": "head.fusion_channels=16"}
    for name, task, prompt in (
        ("a", "segmentation", "oracle"),
        ("b", "segmentation", "empty"),
        ("c", "depth", "empty"),
    ):
        options = [f"--set={setting}" for setting in (*settings, small[task], f"prompt.kind={prompt}")]
        tadp("train", f"scenes-{task}", "--data", root / task, "--out", root / name, *options)
    return root


def test_each_class_has_its_iou_in_the_results_and_in_the_terminal(world):
    (entry,) = Run(world / "a").evaluations
    values = [value for value in entry["per_class"].values() if value is not None]
    assert np.mean(values) == pytest.approx(entry["metrics"]["mIoU"])
    assert "per_class" not in Run(world / "c").evaluations[0]
    output = tadp("eval", world / "a", "--split", "train")
    assert "segmentation/train" in output
    assert all(name in output for name in entry["per_class"])


def test_a_page_about_several_runs(world, tmp_path):
    page = tmp_path / "new" / "page.html"
    sheet = tmp_path / "sheet.png"
    extent = ("--images", "4", "--shown", "2")
    said = tadp("report", world / "a", world / "b", world / "c", *extent, "--out", page, "--sheet", sheet)
    with Image.open(sheet) as figure:
        assert figure.height > figure.width * 0.8, "four rows of image, annotation and two predictions"
    assert "segmentation: mIoU" in said
    assert "depth: RMSE" in said
    html = page.read_text()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert anchors[:5] == ["summary", "scores", "curves", "classes", "confusion"]
    assert anchors[5:] == ["worst", "best", "settings", "environment"]
    assert html.count('alt="prediction of a for') == html.count('alt="prediction of b for') == 5, "of 4 and of the lead"
    assert 'alt="prediction of c for' not in html  # of another task
    assert '<th scope="row">prompt.kind</th><td><mark>oracle</mark></td><td><mark>empty</mark></td>' in html
    sentences = re.findall(r"<p>((?:Trained|Evaluated|Prompts): a[^<]*)</p>", html)
    assert "a and b: segmentation with the backbone tiny, 2 steps of 2 images on the data set" in sentences[0]
    assert re.search(r"mIoU \d+\.\d % on segmentation/val.*c: RMSE \d\.\d+ m on depth/val\.$", sentences[1])
    assert sentences[2] == "Prompts: a: oracle; b and c: empty."
    assert "confusion matrices of a and b and their difference" in html
    assert not re.search(r"https?:|<script .|src=.http", html)


def test_a_sheet_shows_where_the_last_run_is_ahead_and_where_it_is_behind(world, tmp_path, monkeypatch):
    """As the paper's Figures S14 to S20 do, of a method against another."""
    first, last = (examine_run(world / name, 4, device="cpu", report=lambda *_: None) for name in ("a", "b"))
    ids = list(first.per_image)
    first.per_image.update(zip(ids, (0.5, 0.5, 0.5, 0.5), strict=True))
    last.per_image.update(zip(ids, (0.4, 0.9, 0.6, 0.1), strict=True))
    drawn = []
    monkeypatch.setattr(
        prediction_sheet, "sheet_figure", lambda path, *, titles, rows, foot, **legend: drawn.append((titles, rows))
    )
    names = {world / "a": "plain", world / "b": "ours"}
    write_prediction_sheet(tmp_path / "sheet.png", [first, last], names, 1)
    ((titles, rows),) = drawn
    assert titles == ["ours against plain: the 1 best images, then the 1 worst"]
    assert [row[0].label for row in rows] == [ids[1], ids[3]]
    assert [panel.label for panel in rows[0][1:]] == ["annotation", "plain: mIoU 50.0", "ours: mIoU 90.0"]


def test_images_of_the_test_data_are_looked_at_where_asked_for(world, monkeypatch):
    assert "its recipe has no test data (test.folder); leave --target out" in tadp(
        "report", world / "a", "--target", "--out", world / "t.html", code=2
    )
    test = {"test.folder": str(world / "segmentation"), "test.split": "train"}
    asked = Run(world / "a").recipe.replace(**test)
    monkeypatch.setattr(error_analysis.Run, "finished_recipe", lambda run: asked)
    examined = examine_run(world / "a", 4, on_target=True, device="cpu", report=lambda *_: None)
    assert list(examined.per_image) == list(open_folder(world / "segmentation", "segmentation", "train").ids)


def test_any_set_is_shown_with_labels_its_best_and_worst_images(world, tmp_path):
    page, shown = tmp_path / "page.html", ("--images", "2", "--shown", "1")
    tadp("report", world / "a", "--data", world / "segmentation", "--split", "train", *shown, "--out", page)
    html = page.read_text()
    assert "of 2 images of segmentation/train." in html
    assert set(re.findall(r"<h3>(\w+_\d+)</h3>", html)) == set(
        open_folder(world / "segmentation", "segmentation", "train").ids
    )
    output = tadp("report", world / "a", "--data", world / "segmentation", "--out", page, code=2)
    assert "has labels in the splits train, val: name one of them with --split" in output
    assert "name them with --data" in tadp("report", world / "a", "--split", "val", "--out", page, code=2)
    both = ("--data", world / "segmentation", "--target")
    assert "expected one of them" in tadp("report", world / "a", *both, "--out", page, code=2)


@pytest.mark.parametrize("run", ["b", "c"])
def test_a_set_without_labels_is_shown_without_metrics(world, tmp_path, run):
    """A folder of images, and a split of a data set that has labels in others."""
    page, alone = tmp_path / "page.html", tmp_path / "photos"
    task = {"b": "segmentation", "c": "depth"}[run]
    shutil.copytree(world / task / "images", alone)
    shown = ("--images", "4", "--shown", "1", "--out", page)
    tadp("report", world / run, "--data", alone, *shown)
    html = page.read_text()
    anchors = re.findall(r'<section id="([^"]+)"', html)
    assert ("classes" in anchors) == (run == "b"), "as evaluated before"
    assert [a for a in anchors if a != "classes"][2:] == ["curves", "images", "settings", "environment"]
    assert html.count(f'alt="prediction of {run}') == 3
    assert "annotation" not in html
    whole = tmp_path / "whole"
    shutil.copytree(world / task, whole)
    (whole / "test.txt").write_text("val_00001\n")
    (whole / ("masks" if task == "segmentation" else "depth") / "val_00001.png").unlink()
    tadp("report", world / run, "--data", whole, "--split", "test", *shown)
    assert re.findall(r"<h3>(\w+_\d+)</h3>", page.read_text()) == ["val_00001"]
    if run == "b":
        output = tadp("report", world / "a", "--data", alone, "--out", page, code=2)
        assert "which prompts of the kind 'oracle' need" in output


def test_a_page_without_pictures_goes_into_the_first_run(world):
    tadp("report", world / "c", "--images", "0")
    html = (world / "c" / "report.html").read_text()
    assert re.findall(r'<section id="([^"]+)"', html) == ["summary", "scores", "settings", "environment"]
    assert html.index("training loss over steps") < html.index("Trained: depth"), "the curve is the figure"
    assert "expected the name of an .html" in tadp("report", world / "c", "--out", world / "c", code=2)


def test_confusions_and_metrics_are_those_of_a_count_by_hand(world):
    examined = examine_run(world / "b", 3, device="cpu", report=lambda *_: None)
    dataset = open_folder(world / "segmentation", "segmentation", "val")
    model = PerceptionModel.from_pretrained(world / "b")
    counts = np.zeros((13, 13))
    for image_id in dataset.ids[:3]:
        sample = dataset.read(image_id)
        (found,) = model.predict_tensors([sample.image], model.encode_captions([""]))
        truth = sample.target.as_subclass(torch.Tensor)
        own = []
        for label in range(13):
            union = ((found == label) | (truth == label)).sum()
            if union:
                own.append(float(((found == label) & (truth == label)).sum() / union))
        assert examined.per_image[image_id] == pytest.approx(np.mean(own))
        for t, p in zip(truth.flatten().tolist(), found.flatten().tolist(), strict=True):
            counts[t, p] += 1
    np.testing.assert_allclose(examined.confusion, counts / np.maximum(counts.sum(1, keepdims=True), 1), atol=1e-6)
    assert len(examined.per_image) == 3


def test_words_are_of_the_runs_prompt_and_predictions_of_its_model(world):
    examined = examine_run(world / "a", 2, device="cpu", report=lambda *_: None)
    image_id = examined.opened.dataset.ids[0]
    words = word_maps(examined, image_id, 4)
    assert {word for word, _ in words} <= set(examined.opened.prompts.texts[image_id].split())
    peaks = [heat.max() for _, heat in words]
    assert peaks == sorted(peaks, reverse=True)
    overlay = prediction_overlays(examined, [image_id])[image_id]
    assert overlay.size == (64, 64)


def test_best_and_worst_share_no_image():
    values = {"a": 0.1, "b": 0.9, "c": 0.5, "d": 0.3, "e": 0.7}
    assert extremes(values, "segmentation", 2) == (["b", "e"], ["a", "d"])
    assert extremes(values, "depth", 1) == (["a"], ["b"])  # an error: lower is better
    assert extremes(values, "segmentation", 9) == (["b", "e"], ["a", "d"])


def test_the_curve_is_a_mean_over_fiftieths(tmp_path):
    lines = [json.dumps({"step": i + 1, "loss": float(i % 2)}) for i in range(200)]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*lines, '{"step": 200, "val": {"mIoU": 0.5}}']) + "\n")
    steps, losses = loss_curve(tmp_path)
    assert len(steps) == 50
    assert steps[-1] == 200
    assert set(losses) == {0.5}
    assert loss_curve(tmp_path / "none") == ([], [])


def test_differences_are_to_the_first_row():
    rows = [
        {"task": "depth", "prompt": prompt, "modifier": None, "test": "photo", "seed": seed, "metrics": {"rmse": value}}
        for prompt, seed, value in (("empty", 0, 1.0), ("empty", 1, 2.0), ("caption", 0, 1.25))
    ]
    html = runs_html("a", "", tables=task_tables(group_rows({"rows": rows})))
    assert "Difference to empty" in html
    assert "-0.250" in html
    assert "1.500 ± 0.500" in html


def test_only_what_differs_is_marked():
    html = runs_html("a", "", settings={"a": {"x": 1, "y": "<b>"}, "b": {"x": 2, "y": "<b>"}})
    assert html.count("<mark>") == 2
    assert html.index(">x<") < html.index(">y<")
    assert "&lt;b&gt;" in html


def test_settings_that_differ_from_the_recipe_come_first():
    settings = {"a": {"x": 1, "y": 2, "z": 3}}
    html = runs_html("a", "", settings=settings, recipe=("scenes-depth", {"x": 1, "y": 4, "z": 3}))
    changed, _, same = html[html.index("What differs from the recipe scenes-depth") :].partition("<details>")
    assert '<th scope="row">y</th><td>4</td><td><mark>2</mark></td>' in changed
    assert "2 settings as in the recipe" in same
    assert html.count("<mark>") == 1


def test_a_recipe_of_the_package_is_found_in_a_run_s_settings():
    changed = load_recipe("scenes-depth").replace(**{"train.steps": 7})
    name, recipe = recipe_of_package(changed)
    assert (name, recipe) == ("scenes-depth", load_recipe("scenes-depth"))
    assert recipe_of_package(changed.replace(description="my own")) is None
    assert recipe_of_package(changed.replace(description="")) is None


def test_runs_of_one_name_are_distinguished(tmp_path):
    assert run_names([tmp_path / "x" / "run", tmp_path / "y" / "other"]) == ["run", "other"]
    assert run_names([tmp_path / "x" / "run", tmp_path / "y" / "run"]) == [
        str(tmp_path / "x" / "run"),
        str(tmp_path / "y" / "run"),
    ]
