"""The demo at toy size: its results' form, and that the same seed gives the same file."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from diffusers import AutoencoderKL
from surface import assert_frozen, key_lines

from tadp_cli.config.recipe import load_recipe
from tadp_cli.experiments.demo import CLASS_MAPS, Plan, run_demo
from tadp_cli.pipelines import personalize

TOY = Plan(
    tasks=("segmentation",),
    targets=("watercolor",),
    seeds=1,
    train_images=4,
    scored_images=2,
    target_images=3,
    token_steps=2,
    prompts=("caption", CLASS_MAPS),
    steps=1,
)


@pytest.fixture(autouse=True)
def _few_images_are_held_out(monkeypatch):
    monkeypatch.setattr(personalize, "HELD_OUT", 2)


def _run(out):
    run_demo(out, TOY, device="cpu", seed=0, report=lambda *_: None)
    return (out / "results.json").read_bytes()


@pytest.mark.slow
def test_the_demo_gives_the_same_again(tmp_path):
    assert _run(tmp_path / "a") == _run(tmp_path / "b")


def test_the_demo(tmp_path, monkeypatch):
    batches, encode = Counter(), AutoencoderKL.encode

    def counting(vae, images, *given):
        batches[images.numpy().tobytes()] += 1
        return encode(vae, images, *given)

    monkeypatch.setattr(AutoencoderKL, "encode", counting)
    first = _run(tmp_path / "a")
    assert set(batches.values()) == {1}, "all heads are evaluated on the same latents"
    assert _run(tmp_path / "a") == first  # resumed: every stage is done already
    results = json.loads(first)
    output = {(row["prompt"], row["modifier"], row["test"]) for row in results["rows"]}
    assert output == {
        *((prompt, None, "photo") for prompt in TOY.prompts),
        *((prompt, None, "watercolor") for prompt in TOY.prompts if prompt != "caption"),
        *(("caption", modifier, "watercolor") for modifier in ("null", "simple", "textual-inversion")),
        *(("caption", modifier, "photo") for modifier in ("simple", "textual-inversion")),
    }
    assert all(row["task"] == "segmentation" and row["seed"] == 0 for row in results["rows"])
    assert all(0 <= row["metrics"]["mIoU"] <= 1 for row in results["rows"])
    assert set(results["pointing_game"]) == {"own_word", "other_word", "chance"}
    page = (tmp_path / "a" / "report.html").read_text()
    assert "http://" not in page
    assert "https://" not in page
    assert (tmp_path / "a" / "overview.png").is_file()
    assert '<section id="overview">' in page
    runs = {run.name: load_recipe(str(run / "config.toml")) for run in (tmp_path / "a/runs/segmentation").iterdir()}
    by_index = {run.backbone.map_index: name for name, run in runs.items() if run.prompt.modifier == "null"}
    assert by_index["class"] == f"{CLASS_MAPS}-null-seed0"
    assert runs[by_index["class"]].prompt.kind == "caption"
    files = ("results.json", "plan.json", "captions/*.jsonl", "tokens/*/summary.json")
    assert_frozen("demo", key_lines(tmp_path / "a", *files))


@pytest.mark.slow
def test_without_a_learned_token_none_is_trained_and_the_report_is_written(tmp_path):
    plan = replace(TOY, prompts=("class-names",), modifiers=())
    results = run_demo(tmp_path, plan, device="cpu", seed=0, report=lambda *_: None)
    assert results["personalization"] == {}
    assert not (tmp_path / "tokens").exists()
    assert (tmp_path / "report.html").is_file()


def test_a_folder_with_another_demo_is_refused(tmp_path):
    (tmp_path / "plan.json").write_text("{}")
    with pytest.raises(ValueError, match="holds a demo with other settings"):
        run_demo(tmp_path, TOY, device="cpu", seed=0, report=lambda *_: None)
