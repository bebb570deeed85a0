"""The cross-domain workflow as one command."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from diffusers import AutoencoderKL
from invoking import tadp
from surface import assert_frozen, key_lines

from tadp_captioning import CaptionStore
from tadp_cli.config.recipe import load_recipe
from tadp_cli.experiments.compare import rows_of_runs
from tadp_cli.pipelines.adapt import evaluated_split
from tadp_cli.pipelines.train import train
from tadp_cli.run.finished import newest_run
from tadp_heads.data.scenes.write import write_scenes

SHORT = [
    f"--set={setting}"
    for setting in ("train.steps=1", "train.batch_size=2", "head.fpn_channels=16", "head.representation_size=32")
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    root = tmp_path_factory.mktemp("world")
    for split, count in (("train", 6), ("val", 3)):
        write_scenes(root / "photos", task="detection", domain="photo", split=split, count=count, seed=0)
    write_scenes(root / "paintings", task="detection", domain="watercolor", split="test", count=3, seed=1)
    return root


def adapt(world, out, *arguments, target="paintings", code=0):
    places = ["--source", world / "photos", "--target", world / target, "--out", out]
    command = ["adapt", *places, "--domain", "watercolor", "--task", "detection", *SHORT, *arguments]
    return tadp(*command, code=code)


@pytest.fixture
def encoded(monkeypatch):
    """The batches of images that went through a VAE's encoder, as bytes."""
    batches, encode = [], AutoencoderKL.encode

    def counting(vae, images):
        batches.append(images.numpy().tobytes())
        return encode(vae, images)

    monkeypatch.setattr(AutoencoderKL, "encode", counting)
    return batches


def test_a_target_with_labels_is_evaluated_before_and_after_and_nothing_is_done_twice(world, tmp_path, encoded):
    output = adapt(world, tmp_path, "--modifier", "simple")
    assert encoded
    assert len(encoded) == len(set(encoded)), "both models share the latents of the source, the target and the page"
    for when in ("before adaptation: ", ""):
        assert f"{when}{world}/paintings test: AP" in output
    assert "paintings: the split test is evaluated (its only split with labels)" in output
    assert "paintings test: AP" in output
    assert not (tmp_path / "predictions").exists()
    made = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert "test is evaluated (named by --split)" in adapt(world, tmp_path, "--modifier", "simple", "--split", "test")
    again = {path for path, time in made.items() if path.stat().st_mtime_ns != time}
    assert {path.name for path in again} <= {"paintings_tiny_min0_clean.jsonl"}
    results = json.loads((tmp_path / "run/results.json").read_text())
    assert [entry["split"] for entry in results["evaluations"]] == ["val", "test"]
    for run, modifier in (("before", "null"), ("run", "simple")):
        recipe = load_recipe(tmp_path / run / "config.toml")
        assert (recipe.prompt.modifier, recipe.test.captions != "") == (modifier, True)
    compared = json.loads((tmp_path / "results.json").read_text())
    assert compared["after"] == results["evaluations"][1]["metrics"]
    assert compared["before"].keys() == compared["after"].keys()
    assert "test_0000" in (tmp_path / "report.html").read_text(), "images of the target"
    files = ("adapt.json", "captions/*.jsonl", "run/results.json", "results.json")
    assert_frozen("adapt", key_lines(tmp_path, *files, maps=("*results.json evaluations*.per_class",)))
    assert "holds an adaptation with other settings" in adapt(world, tmp_path, "--modifier", "null", code=2)
    image = world / "paintings" / "JPEGImages" / "test_00000.png"
    assert "1 predicted" in tadp("predict", tmp_path, image, "--out", tmp_path / "predicted")
    assert "AP" in tadp("eval", tmp_path, "--data", world / "paintings", "--split", "test")
    shown = tadp("report", tmp_path, "--images", "1", "--out", tmp_path / "again.html")
    assert "paintings/test" in shown
    assert "simple" in shown
    assert newest_run(tmp_path) == tmp_path / "run"


class Cleaning(BaseHTTPRequestHandler):
    """A server without json_schema, whose model changes every caption in the same way."""

    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        refused = "response_format" in request
        items = json.loads(request["messages"][1]["content"])
        answer = json.dumps({"captions": [{**item, "caption": "a red star"} for item in items]})
        message = {"role": "assistant", "content": f"```json\n{answer}\n```"}
        error = {"error": {"message": "response_format: json_schema is not supported"}}
        body = json.dumps(error if refused else {"choices": [{"finish_reason": "stop", "message": message}]}).encode()
        self.send_response(400 if refused else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def model_url(monkeypatch, tmp_path):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cleaning)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


@pytest.mark.slow
def test_captions_of_the_target_are_cleaned_by_a_model_and_results_record_it(world, tmp_path, model_url):
    out, mine = tmp_path / "out", ("--modifier", "null", "--cleaner", "openai:mine")
    assert "no price is known for model 'mine'" in adapt(world, out, *mine, "--base-url", model_url, code=2)
    assert not (out / "captions").exists(), "before anything is captioned"
    output = adapt(world, out, *mine, "--base-url", model_url, "--max-requests", "1")
    assert "(captions cleaned by openai:mine)" in output
    captions = CaptionStore.read(out / "captions" / "paintings_tiny_min0_clean_openai-mine.jsonl")
    assert {captions[image] for image in captions} == {"a red star"}
    evaluation = ("eval", out / "run", "--data", world / "paintings", "--split", "test", "--domain", "watercolor")
    assert "captions cleaned by rules" in tadp(*evaluation, "--cleaner", "rules")
    assert "captions cleaned by openai:mine" in tadp(*evaluation, "--base-url", model_url, "--price", "0,0")
    given = ("--captions", out / "captions" / "paintings_tiny_min0_clean_openai-mine.jsonl")
    assert "captions cleaned by openai:mine" in tadp(*evaluation, *given), "no model is asked about them again"
    entries = json.loads((out / "run/results.json").read_text())["evaluations"]
    assert [entry.get("cleaner") for entry in entries] == [None, "rules", "openai:mine"]
    rows = rows_of_runs([out / "run"])[1:]
    assert [row["test"] for row in rows] == ["paintings/test", "paintings/test (captions cleaned by openai:mine)"]
    assert [row["cleaner"] for row in rows] == ["rules", "openai:mine"]
    assert "name it with --domain" in tadp(*evaluation[:-2], "--cleaner", "rules", code=2)


def test_a_target_without_labels_is_predicted_and_it_is_said_why(world, tmp_path):
    output = adapt(world, tmp_path, "--modifier", "simple", target="paintings/JPEGImages")
    assert "JPEGImages: predicted, not evaluated (it has no labels for detection)" in output
    assert len(list((tmp_path / "predictions").glob("*_overlay.png"))) == 3
    evaluations = json.loads((tmp_path / "run/results.json").read_text())["evaluations"]
    assert [entry["split"] for entry in evaluations] == ["val"]


def test_which_split_is_evaluated(world, tmp_path):
    photos, extra = str(world / "photos"), tmp_path / "extra"
    assert evaluated_split(photos, "detection", "") == ("val", "it has labels in train, val; --split names another")
    assert evaluated_split(photos, "detection", "train") == ("train", "named by --split")
    assert evaluated_split(photos, "depth", "") == ("", "it has no labels for depth")
    for split in ("train", "first"):
        write_scenes(extra, task="depth", domain="photo", split=split, count=1, seed=0, size=32)
    with pytest.raises(ValueError, match="labels in the splits first, train: name one of them with --split"):
        evaluated_split(str(extra), "depth", "")
    for split in ("val", "test"):
        write_scenes(extra, task="depth", domain="photo", split=split, count=1, seed=0, size=32)
    assert evaluated_split(str(extra), "depth", "")[0] == "test"
    for file in extra.glob("*.txt"):
        file.unlink()
    split, why = evaluated_split(str(extra), "depth", "")
    assert split == ""
    assert "it has labels, but no split file with an image that has one; write test.txt" in why


def test_labels_of_other_classes_are_refused_before_anything_is_done(world, tmp_path):
    write_scenes(tmp_path / "target", task="detection", domain="comic", split="test", count=1, seed=1)
    (tmp_path / "target" / "classes.txt").write_text("zebra\n")
    output = adapt(world, tmp_path / "out", "--modifier", "simple", target=tmp_path / "target", code=2)
    assert "classes zebra are not among those of the model" in output
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # learns a token
def test_a_target_without_labels_is_learned_from_and_predicted(world, tmp_path):
    output = adapt(world, tmp_path, target="paintings/JPEGImages")
    assert "predicted: 3 images" in output
    assert (tmp_path / "domains/watercolor/textual-inversion/learned_embeds.safetensors").is_file()
    recipe = (tmp_path / "run/config.toml").read_text()
    assert 'token = "<watercolor>"' in recipe
    assert len(list((tmp_path / "predictions").glob("*_overlay.png"))) == 3


def test_several_processes_are_refused(world, tmp_path, monkeypatch):
    launched = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "localhost", "MASTER_PORT": "29500"}
    for name, value in launched.items():
        monkeypatch.setenv(name, value)
    assert "tadp adapt runs in one process, not in 2" in adapt(world, tmp_path, code=2)


def test_bad_input_is_one_line(world, tmp_path):
    assert "unknown domain 'cubism'" in adapt(world, tmp_path, "--domain", "cubism", code=2)
    assert "unknown prompt.modifier 'style'" in adapt(world, tmp_path, "--modifier", "style", code=2)
    assert not (tmp_path / "adapt.json").exists()


def test_self_training_reads_the_targets_images_and_never_its_labels(world, tmp_path, encoded):
    """The labels of the images that are trained on are gone; those that are evaluated are others."""
    target = tmp_path / "target"
    for split, count in (("train", 3), ("test", 2)):
        write_scenes(target, task="detection", domain="watercolor", split=split, count=count, seed=5)
    listed = (target / "ImageSets" / "Main" / "train.txt").read_text().split()
    images = tmp_path / "images"
    images.mkdir()
    for name in listed:
        (target / "Annotations" / f"{name}.xml").unlink()
        (target / "JPEGImages" / f"{name}.png").rename(images / f"{name}.png")
    (target / "ImageSets" / "Main" / "train.txt").unlink()
    settings = ("--set", "self_training.start=0", "--set", "self_training.confidence=0.0", "--set", "train.steps=2")
    places = ["--source", world / "photos", "--target", images, "--out", tmp_path / "out", "--domain", "watercolor"]
    command = ["adapt", *places, "--task", "detection", *SHORT, *settings, "--modifier", "simple", "--self-train"]
    output = tadp(*command)
    assert "predicted: 3 images" in output
    assert len(encoded) == len(set(encoded)), "once for the prompts of teacher and student"
    run = tmp_path / "out" / "run"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all("effective_classes" in line for line in lines)
    recipe = load_recipe(run / "config.toml")
    assert recipe.self_training.images == str(tmp_path / "out" / "self_training_images.txt")
    texts = CaptionStore.read(run / "target_captions.jsonl")
    assert sorted(texts) == sorted(listed)
    assert "holds an adaptation with other settings" in tadp(*command[:-1], code=2)


def test_teacher_and_student_share_the_latents_of_each_step(world, tmp_path, encoded):
    """The UNet trains, so that no features are kept."""
    recipe = load_recipe("scenes-detection", [setting.removeprefix("--set=") for setting in SHORT]).replace(
        **{"data.folder": str(world / "photos"), "prompt.kind": "caption", "train.unet_lr_scale": 0.1},
        **{"self_training.images": str(world / "paintings" / "JPEGImages"), "self_training.start": 0},
        **{"self_training.confidence": 0.0},
    )
    train(recipe, tmp_path)
    assert json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])["pseudo_labels"] > 0
    source, target, *validation = encoded
    assert source != target
    assert len(validation) == 2, "three images, two at a time"
