"""`tadp analyze`: each analysis at toy size, and its measures against reference implementations."""

import json

import numpy as np
import pytest
import torch
from agreement import assert_same_ids
from invoking import tadp
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_backbone.analysis.localisation import localise
from tadp_backbone.analysis.variation import img2img, vary
from tadp_backbone.attention_maps import all_layers
from tadp_backbone.text.word_attention import heat_maps
from tadp_captioning.mentions.cosine import CosineMentions
from tadp_cli.experiments.analyses import ANALYSES, off_target, recall, variation
from tadp_cli.experiments.analyses.localisation import maps_of, words_in
from tadp_cli.experiments.analyses.regression import fit_line
from tadp_cli.experiments.analyses.setting import Setting
from tadp_heads.data import Sample
from tadp_heads.data.copy_paste import pastes
from tadp_heads.data.readers.user_folder import open_folder
from tadp_heads.data.scenes.write import write_scenes
from tadp_heads.segmentation.per_image import per_image_metrics


@pytest.fixture(scope="module")
def out(tmp_path_factory):
    """One folder for all analyses, so that data, captions and heads are made once."""
    return tmp_path_factory.mktemp("analyses")


IMAGES = 10
"""Enough for one whose caption misses a class."""
SMALL = ("--images", str(IMAGES), "--steps", "2", "--train-images", "2")


def numbers(out, name):
    assert name in ANALYSES
    tadp("analyze", name, *SMALL, "--out", out)
    with Image.open(out / f"{name}.png") as figure:
        assert figure.width > 300
        assert len(set(figure.convert("L").tobytes())) > 20
    return json.loads((out / f"{name}.json").read_text())["numbers"]


@pytest.mark.slow
def test_attention_by_kind_of_prompt(out):
    found = numbers(out, "attention")
    assert list(found) == ["oracle", "caption", "averaged-eos", "class-names"]
    assert found["oracle"]["words"] == found["class-names"]["words"] >= found["caption"]["words"] > 0
    assert found["oracle"]["words"] + found["class-names"]["absent_words"] == IMAGES * 12
    assert "absent_words" not in found["oracle"]
    assert found["oracle"]["peak_on_object"] > 0.5  # the tiny model's words point
    assert found["averaged-eos"]["spread"] > 2 * found["oracle"]["spread"]


def test_copy_paste_moves_the_word_to_its_object(out):
    found = numbers(out, "copy-paste")
    assert found["pastes"] >= 3
    assert found["after"]["peak_on_pasted"] > found["before"]["peak_on_pasted"]
    assert found["before"]["mass_on_others"] > found["after"]["mass_on_others"]


@pytest.mark.slow
def test_averaging_or_end_token(out):
    found = numbers(out, "averaging")
    assert {n["maps"] for n in found.values()} == {found["one template"]["maps"]}
    assert found["80 templates averaged"]["hit"] <= found["words, all names"]["hit"]


@pytest.mark.slow
def test_off_target_matrices_are_shares(out):
    found = numbers(out, "off-target")
    for matrix in found["matrices"].values():
        assert all(sum(row) <= 1 + 1e-6 for row in matrix)
    assert len(found["rises"]) == 5
    assert 0 <= found["all"]["off_target"] <= 1


def test_attention_is_over_all_scales_or_over_those_of_the_head():
    """The paper's Figure 4 has all; the heads get two of the three."""
    backbone = DiffusionBackbone.from_pretrained("tiny")
    assert set(all_layers(backbone).values()) == {4, 8, 16}
    sample = Sample(torch.randint(256, (3, 64, 64), dtype=torch.uint8), torch.zeros(64, 64), "a")
    words = words_in(backbone, "a ring", ["ring"])
    maps = {scales: maps_of(backbone, sample, "a ring", words, scales=scales)["ring"] for scales in ("all", "head")}
    features = backbone(sample.image[None] / 127.5 - 1, backbone.encode_text(["a ring"]))
    torch.testing.assert_close(maps["head"], heat_maps(features, list(words.values()))[0])
    assert not torch.allclose(maps["all"], maps["head"])


@pytest.mark.slow
def test_recall_by_cosine_has_a_line_of_its_own(out, monkeypatch):
    """As in the paper's Figure S5; the threshold is the setting's, the encoder the run's."""
    asked = []

    class Recording(CosineMentions):
        def __init__(self, classes, encode, *, threshold):
            asked.append((len(classes), len(encode(["ring", "a star"])), threshold))
            super().__init__(classes, encode, threshold=threshold)

    monkeypatch.setattr(recall, "CosineMentions", Recording)
    setting = Setting(out=out, images=IMAGES, steps=2, train_images=2, cosine=0.9999)
    findings = recall.analyze(setting)
    assert asked == [(12, 2, 0.9999)]
    assert findings.numbers["r"] == pytest.approx(
        np.corrcoef(findings.numbers["recall"], findings.numbers["mIoU"])[0, 1]
    )
    assert "cosine of at least 0.9999" in findings.remark
    with pytest.raises(ValueError, match=r"--cosine is 1.5, expected above 0, at most 1"):
        Setting(out=out, cosine=1.5)
    with pytest.raises(ValueError, match="unknown --scales 'some'; choose from all, head"):
        Setting(out=out, scales="some")


def test_recall_and_size_have_their_lines(out):
    found = numbers(out, "recall")
    assert len(found["recall"]) == len(found["mIoU"]) == IMAGES
    assert found["r"] == pytest.approx(np.corrcoef(found["recall"], found["mIoU"])[0, 1])
    found = numbers(out, "object-size")
    assert found["count"] == len(found["size"]) == len(found["IoU"])
    assert max(found["size"]) < 0.5


@pytest.mark.slow
def test_variations_are_the_pipelines_and_repeat(out, monkeypatch):
    monkeypatch.setattr(variation, "STRENGTHS", (0.02, 0.08))
    found = numbers(out, "variation")
    assert found["as it is"]["0"]["rms"] == 0
    for kind in ("class names", "caption"):
        assert 0 < found[kind]["0.02"]["rms"] < found[kind]["0.08"]["rms"]
    backbone = DiffusionBackbone.from_pretrained("tiny", keep_decoder=True)
    image = Image.effect_noise((40, 64), 50).convert("RGB")
    first, again, other = (vary(img2img(backbone), image, "a ring", 0.02, seed) for seed in (0, 0, 1))
    assert first.size == (40, 64)
    assert first.tobytes() == again.tobytes() != other.tobytes()


@pytest.mark.slow
def test_a_users_run_and_data_are_taken(out, tmp_path):
    write_scenes(tmp_path / "night", task="segmentation", domain="night", split="test", count=4, seed=3)
    numbers(out, "off-target")  # trains the head
    run = next(path for path in (out / "heads").iterdir() if path.name.startswith("oracle"))
    arguments = ("--run", run, "--data", tmp_path / "night", "--split", "test", "--out", tmp_path / "o")
    tadp("analyze", "off-target", *arguments)
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == ["off-target.json", "off-target.png"]
    tadp("analyze", "averaging", *arguments)
    assert json.loads((tmp_path / "o" / "averaging.json").read_text())["setting"]["run"] == str(run)
    said = tadp("analyze", "recall", *arguments, code=2)
    assert "this analysis takes segmentation runs with the prompt 'caption'" in said
    assert "unknown analysis 'recal'; choose from attention" in tadp("analyze", "recal", "--out", tmp_path, code=2)
    assert "leave --run out" in tadp("analyze", "variation", *arguments, code=2)


def test_a_uniform_map_gives_the_area_and_a_sharp_one_everything():
    masks = torch.zeros(2, 6, 10, dtype=torch.bool)
    masks[:, 1:3, 2:7] = True
    maps = torch.full((2, 6, 10), 0.3)
    maps[1] = 0
    maps[1, 2, 4] = 0.7
    found = localise(maps, masks)
    assert found.area.tolist() == pytest.approx([10 / 60] * 2)
    assert found.mass.tolist() == pytest.approx([10 / 60, 1])
    assert found.spread.tolist() == pytest.approx([1, 1 / 60])
    assert found.hit[1] == 1


def test_words_are_found_by_plural_synonym_and_in_several_words():
    backbone = DiffusionBackbone.from_pretrained("tiny")
    found = words_in(backbone, "two stars and a potted plant", ["star", "potted plant", "ring"])
    assert found["star"].text == "stars"
    assert found["potted plant"].indices[0] == 5
    assert "ring" not in found


def test_a_line_is_least_squares():
    rng = np.random.default_rng(0)
    x = rng.random(50)
    y = 2 * x - 1 + 0.1 * rng.standard_normal(50)
    line = fit_line(x, y)
    design = np.stack([x, np.ones(50)], axis=1)
    np.testing.assert_allclose([line.slope, line.intercept], np.linalg.lstsq(design, y)[0])
    assert fit_line([0, 1, 2], [3, 1, -1]).r == pytest.approx(-1)
    with pytest.raises(ValueError, match="do not determine a regression line"):
        fit_line([1, 1, 1], [1, 2, 3])


def test_what_is_pasted_lies_free_and_the_rest_stays(tmp_path):
    write_scenes(tmp_path, task="segmentation", domain="photo", split="val", count=8, seed=0)
    dataset = open_folder(tmp_path, "segmentation", "val")
    found = list(pastes(dataset, seed=0))
    assert len(found) >= 4
    for pasted in found:
        assert pasted.name in pasted.names
        assert dataset.classes.index(pasted.name) not in pasted.before.target
        assert (pasted.mask & pasted.others).sum() <= 0.02 * pasted.mask.sum()
        before, after = pasted.before.image, pasted.after.image
        assert torch.equal(before[:, ~pasted.mask], after[:, ~pasted.mask])
        assert (before[:, pasted.mask] != after[:, pasted.mask]).any()


def test_metrics_of_images_and_probabilities_are_the_heads(out):
    setting = Setting(out=out, images=IMAGES, steps=2, train_images=2)
    opened = setting.open_run("oracle")
    measured = next(per_image_metrics(opened.model, opened.dataset, opened.context))
    text = opened.prompts.texts[measured.sample.id]
    found = off_target._probabilities(opened, measured.sample.image, text, measured.prediction.shape)
    torch.testing.assert_close(found.sum(0), torch.ones(64, 64))
    assert_same_ids(found.argmax(0), measured.prediction)
    truth = measured.sample.target.as_subclass(torch.Tensor)
    for name, area in measured.areas.items():
        label = opened.dataset.classes.index(name)
        own, guess = truth == label, measured.prediction == label
        assert area == pytest.approx(float(own.double().mean()))
        assert measured.iou[name] == pytest.approx(float((own & guess).sum() / (own | guess).sum()))
