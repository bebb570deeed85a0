"""`tadp predict` on the images that users have: every file handled or named, results in the image's own frame."""

import json
import shutil
import subprocess
import sys
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import torch
from faster_coco_eval import COCO
from invoking import tadp
from PIL import Image
from safetensors.torch import load_file, save_file

from tadp_cli.pipelines.explain import ExplainOptions, explain_image
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.data.scenes.write import write_scenes


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A run of each task, trained for one step."""
    root = tmp_path_factory.mktemp("runs")
    for task in ("segmentation", "depth", "detection"):
        data = root / "data" / task
        write_scenes(data, task=task, domain="photo", split="train", count=1, seed=0)
        settings = ("train.steps=1", "train.batch_size=1", "train.flip=false", "data.val=train")
        options = [f"--set={setting}" for setting in settings]
        captions = data / "captions_true_train.jsonl"
        tadp("train", f"scenes-{task}", "--data", data, "--captions", captions, "--out", root / task, *options)
    return root


def scene(width, height):
    return Image.fromarray(render(sample_scene(3, 0), "photo").image).resize((width, height))


@pytest.fixture
def pictures(tmp_path):
    """What is found on disks."""
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    scene(70, 50).convert("CMYK").save(folder / "cmyk.jpg")
    grey = np.asarray(scene(48, 40).convert("L")).astype(np.uint16) * 257
    Image.fromarray(grey).save(folder / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown with a quarter turn
    scene(80, 40).save(folder / "turned.jpg", exif=exif)
    scene(10000, 8).save(folder / "wide.png")
    Image.new("RGB", (1, 1), "red").save(folder / "sub" / "dot.png")
    whole = (folder / "cmyk.jpg").read_bytes()
    (folder / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "words.png").write_text("no image")
    return folder


class Refusing(BaseHTTPRequestHandler):
    """A server whose model describes no image of one colour."""

    asked = 0

    def do_POST(self):
        type(self).asked += 1
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        url = request["messages"][0]["content"][1]["image_url"]["url"]
        text = "I can't help with that." if len(url) < 1000 else "a red star"
        choice = {"finish_reason": "stop", "message": {"role": "assistant", "content": text}}
        body = json.dumps({"choices": [choice]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def refusing_server(monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{server.server_port}/v1")
    monkeypatch.setattr(Refusing, "asked", 0)
    yield
    server.shutdown()
    server.server_close()


def test_images_that_the_captioner_refuses_are_named_and_the_others_predicted(runs, tmp_path, refusing_server):
    """A batch of refused images alone ended the command, and each of the others' captions was asked for twice."""
    for name in ("a", "b", "c"):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{name}.png")
    scene(64, 64).save(tmp_path / "d.png")
    given = ("predict", runs / "segmentation", tmp_path, "--captioner", "openai:mine", "--out", tmp_path / "out")
    said = tadp(*given, "--batch-size", "2", code=1)
    assert "1 predicted, 3 failed" in said
    assert "a.png: the captioner refused: I can't help with that." in said
    assert Refusing.asked == 4


SIZES = {
    "cmyk": (70, 50),
    "sixteen": (48, 40),
    "turned": (40, 80),
    "wide": (10000, 8),
    "sub/dot": (1, 1),
}


@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_every_image_of_a_folder_is_handled_or_named(runs, pictures, tmp_path, task):
    out = tmp_path / "out"
    if task != "segmentation":
        (pictures / "wide.png").unlink()  # takes long
    sizes = {key: size for key, size in SIZES.items() if key != "wide" or task == "segmentation"}
    said = tadp("predict", runs / task, pictures, "--caption", "a ring and a tree", "--out", out, code=1)
    assert f"{len(sizes)} predicted, 2 failed" in said
    assert "images/s" in said
    assert "torn.jpg: found a broken image" in said
    assert "words.png: found no image data" in said
    assert said.count("error:") == 1
    for image_id, size in sizes.items():
        with Image.open(out / f"{image_id}_overlay.png") as overlay:
            factor = overlay.width // size[0]
            assert overlay.size == (factor * size[0], factor * size[1])
            assert factor == 1 or task == "detection", "small images are enlarged so that labels can be read"
    assert not [path for path in out.rglob("*") if "torn" in path.name or path.name.startswith(".")]
    captions = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert {row["id"]: row["caption"] for row in captions} == dict.fromkeys(sizes, "a ring and a tree")
    RAW[task](out, sizes)


def _check_masks(out, sizes):
    for image_id, size in sizes.items():
        with Image.open(out / f"{image_id}_mask.png") as mask:
            assert (mask.mode, mask.size) == ("P", size)
            assert max(mask.get_flattened_data()) <= 12
            assert mask.getpalette()[:6] == [0, 0, 0, 0, 114, 178]


def _check_depth(out, sizes):
    for image_id, (width, height) in sizes.items():
        metres = np.load(out / f"{image_id}_depth.npy")
        with Image.open(out / f"{image_id}_depth.png") as file:
            assert file.mode == "I;16"
            millimetres = np.asarray(file)
        assert metres.shape == millimetres.shape == (height, width)
        assert metres.dtype == np.float32
        assert metres.min() > 0
        np.testing.assert_allclose(millimetres / 1000, metres, atol=0.00051)


def _check_boxes(out, sizes):
    for image_id, (width, height) in sizes.items():
        read = COCO(str(out / f"{image_id}_boxes.json"))  # an independent reader
        (image,) = read.loadImgs(read.getImgIds())
        assert (image["width"], image["height"]) == (width, height)
        assert image["file_name"].startswith(image_id.split("/")[-1])
        assert [c["name"] for c in read.loadCats(read.getCatIds())][:2] == ["circle", "hexagon"]
        for annotation in read.loadAnns(read.getAnnIds()):
            left, top, wide, high = annotation["bbox"]
            assert left >= 0
            assert top >= 0
            assert left + wide <= width + 1e-3
            assert top + high <= height + 1e-3
            assert 0 <= annotation["score"] <= 1


RAW = {"segmentation": _check_masks, "depth": _check_depth, "detection": _check_boxes}


def test_a_turned_photo_gives_what_the_upright_one_gives(runs, pictures, tmp_path):
    from PIL import ImageOps

    upright = pictures / "upright.png"
    with Image.open(pictures / "turned.jpg") as file:
        ImageOps.exif_transpose(file).save(upright)
    tadp("predict", runs / "depth", pictures / "turned.jpg", upright, "--caption", "a ring", "--out", tmp_path / "out")
    turned, same = (np.load(tmp_path / "out" / f"{name}_depth.npy") for name in ("turned", "upright"))
    np.testing.assert_allclose(turned, same, atol=1e-5)


def test_sixteen_bits_show_what_eight_bits_show(runs, pictures, tmp_path):
    scene(48, 40).convert("L").save(pictures / "eight.png")
    both = (pictures / "sixteen.png", pictures / "eight.png")
    tadp("predict", runs / "depth", *both, "--caption", "a ring", "--out", tmp_path / "out")
    sixteen, eight = (np.load(tmp_path / "out" / f"{name}_depth.npy") for name in ("sixteen", "eight"))
    np.testing.assert_allclose(sixteen, eight, atol=1e-5)


def test_resumes_where_it_stopped_and_refuses_other_settings(runs, pictures, tmp_path):
    run, out = runs / "segmentation", tmp_path / "out"
    tadp("predict", run, pictures / "cmyk.jpg", "--captioner", "tiny", "--out", out)
    first = (out / "cmyk_mask.png").stat().st_mtime_ns
    line = (out / "captions.jsonl").read_text()
    assert json.loads(line)["captioner"] == "tiny"
    said = tadp("predict", run, pictures / "s*.*", pictures / "cmyk.jpg", "--captioner", "tiny", "--out", out)
    assert "1 predicted, 0 failed, 1 were there already" in said
    assert (out / "cmyk_mask.png").stat().st_mtime_ns == first
    assert (out / "captions.jsonl").read_text().startswith(line)
    (out / "cmyk_overlay.png").unlink()  # a call that was killed while it wrote
    assert "1 predicted" in tadp("predict", run, pictures / "cmyk.jpg", "--captioner", "tiny", "--out", out)
    assert "other settings" in tadp("predict", run, pictures / "cmyk.jpg", "--caption", "x", "--out", out, code=2)


def test_a_run_that_was_trained_anew_is_refused(runs, pictures, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    shutil.copytree(runs / "segmentation", run)
    arguments = ("predict", run, pictures / "cmyk.jpg", "--caption", "a ring", "--out", out)
    tadp(*arguments)
    assert "1 were there already" in tadp(*arguments)
    weights = load_file(run / "model.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, run / "model.safetensors")
    assert "other settings" in tadp(*arguments, code=2)


def test_folders_files_and_globs_together_and_never_its_own_output(runs, pictures, tmp_path):
    run, out = runs / "segmentation", pictures / "predictions"
    arguments = (pictures / "sub", pictures / "cmyk.jpg", pictures / "s*.png", "--caption", "a ring", "--out", out)
    assert "3 predicted" in tadp("predict", run, *arguments)
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*_mask.png")) == [
        "cmyk_mask.png",
        "sixteen_mask.png",
        "sub/dot_mask.png",
    ]
    (pictures / "wide.png").unlink()
    again = tadp("predict", run, pictures, "--caption", "a ring", "--out", out, code=1)
    assert "1 predicted, 2 failed, 3 were there already" in again


@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_a_runs_words_are_explained_by_the_pass_that_predicts(runs, tmp_path, task):
    scene(70, 41).save(tmp_path / "scene.png")
    options = ExplainOptions(run=runs / task, caption="a ring and a tree")
    (found,) = explain_image(tmp_path / "scene.png", tmp_path / "words.png", options, device="cpu")
    assert found.same_pass
    factor = 7 if task == "detection" else 1  # boxes are drawn on a small image enlarged
    assert found.prediction.size == (70 * factor, 41 * factor)
    backbone = PerceptionModel.from_pretrained(runs / task).backbone
    pixels = torch.from_numpy(np.asarray(scene(70, 41)).copy()).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        features = backbone(pixels, backbone.encode_text(["a ring and a tree"]))
    cells = np.load(tmp_path / "words.npz")["cells_8"]
    np.testing.assert_allclose(cells[1], features.attention[8][0, 2].numpy(), atol=1e-4)


def test_a_protocol_of_several_passes_is_explained_by_one_of_its_own(runs, tmp_path):
    scene(64, 64).save(tmp_path / "scene.png")
    settings = json.loads((runs / "depth" / "config.json").read_text())
    several = tmp_path / "several"
    shutil.copytree(runs / "depth", several)
    settings["model"]["protocol"] = "full-flip"
    (several / "config.json").write_text(json.dumps(settings))
    options = ExplainOptions(run=several, caption="a ring")
    (found,) = explain_image(tmp_path / "scene.png", tmp_path / "words.png", options, device="cpu")
    assert not found.same_pass
    (same,) = explain_image(
        tmp_path / "scene.png",
        tmp_path / "words.png",
        ExplainOptions(run=runs / "depth", caption="a ring"),
        device="cpu",
    )
    np.testing.assert_allclose(found.maps, same.maps, atol=1e-5)


def test_a_protocol_by_name(runs, tmp_path):
    picture = tmp_path / "long.png"
    scene(640, 64).save(picture)
    run = runs / "segmentation"
    for protocol in ("whole", "slide"):
        arguments = ("--caption", "a ring", "--protocol", protocol, "--out", tmp_path / protocol)
        tadp("predict", run, picture, *arguments)
    whole, slid = (np.asarray(Image.open(tmp_path / name / "long_mask.png")) for name in ("whole", "slide"))
    assert whole.shape == slid.shape == (64, 640)
    said = tadp("predict", run, picture, "--protocol", "best", "--out", tmp_path / "no", code=2)
    assert "unknown segmentation protocol 'best'; choose from whole, slide" in said
    assert not (tmp_path / "no").exists()


@pytest.mark.parametrize("task", ["segmentation", "depth", "detection"])
def test_large_photos_are_shrunk_and_the_results_brought_back(runs, tmp_path, task):
    """As if the user had shrunk the photo and enlarged the result."""
    large, small = scene(300, 200), scene(300, 200).resize((96, 64), Image.Resampling.LANCZOS)
    large.save(tmp_path / "large.png")
    small.save(tmp_path / "small.png")
    files, out = (tmp_path / "large.png", tmp_path / "small.png"), tmp_path / "out"
    tadp("predict", runs / task, *files, "--caption", "a ring", "--size", "96", "--out", out)
    with Image.open(out / "large_overlay.png") as overlay:
        factor = 2 if task == "detection" else 1  # boxes are drawn on a small image enlarged
        assert overlay.size == (300 * factor, 200 * factor)
    SCALED[task](out)
    said = tadp("predict", runs / task, *files, "--caption", "a ring", "--size", "80", "--out", out, code=2)
    assert "size was 96, is now 80" in said
    assert "--size is 0, expected pixels" in tadp("predict", runs / task, *files, "--size", "0", "--out", out, code=2)


def _enlarged_mask(out):
    with Image.open(out / "large_mask.png") as large, Image.open(out / "small_mask.png") as small:
        rows = ((np.arange(200) + 0.5) * 64 / 200).astype(int)
        columns = ((np.arange(300) + 0.5) * 96 / 300).astype(int)
        same = np.asarray(large) == np.asarray(small)[np.ix_(rows, columns)]
        assert same.mean() > 0.99  # of two passes, in which rounding decides near ties
        assert (large.mode, large.size) == ("P", (300, 200))


def _enlarged_depth(out):
    large, small = (np.load(out / f"{name}_depth.npy") for name in ("large", "small"))
    wanted = Image.fromarray(small).resize((300, 200), Image.Resampling.BILINEAR)
    np.testing.assert_allclose(large, np.asarray(wanted), rtol=1e-4)


def _enlarged_boxes(out):
    large, small = (json.loads((out / f"{name}_boxes.json").read_text()) for name in ("large", "small"))
    assert (large["images"][0]["width"], large["images"][0]["height"]) == (300, 200)
    boxes = [np.array([a["bbox"] for a in found["annotations"]]) for found in (large, small)]
    assert len(boxes[0])
    np.testing.assert_allclose(boxes[0], boxes[1] * 3.125, rtol=1e-4, atol=1e-2)


SCALED = {"segmentation": _enlarged_mask, "depth": _enlarged_depth, "detection": _enlarged_boxes}


@pytest.mark.slow
def test_a_panorama_of_ten_thousand_pixels(runs, tmp_path):
    picture = tmp_path / "panorama.jpg"
    scene(10000, 150).save(picture)
    tadp(
        "predict", runs / "segmentation", picture, "--caption", "a ring", "--protocol", "slide", "--out", tmp_path / "o"
    )
    with Image.open(tmp_path / "o" / "panorama_mask.png") as mask:
        assert mask.size == (10000, 150)


def plain(path, colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16), colour).save(path)


def test_images_of_the_same_names_in_other_folders_have_predictions_of_their_own(runs, tmp_path):
    plain(tmp_path / "a" / "x.png", "red")
    plain(tmp_path / "b" / "x.png", "blue")
    out, call = tmp_path / "out", ("predict", runs / "segmentation", "--caption", "a ring", "--out", tmp_path / "out")
    for folder in ("a", "b"):
        assert "1 predicted" in tadp(*call, tmp_path / folder)
    assert {path.relative_to(out).as_posix() for path in out.rglob("*_mask.png")} == {"x_mask.png", "b/x_mask.png"}
    for folder in ("a", "b"):
        assert "0 predicted" in tadp(*call, tmp_path / folder)
    plain(tmp_path / "a" / "x.png", "green")
    assert "1 predicted" in tadp(*call, tmp_path / "a")
    assert len(list(out.rglob("*_mask.png"))) == 2, "a changed image keeps its name"


def test_a_list_of_paths_elsewhere_writes_below_out_alone(runs, tmp_path):
    plain(tmp_path / "photos" / "p.png", "red")
    truth = tmp_path / "photos" / "p_mask.png"
    plain(truth, "white")
    before = truth.read_bytes()
    (tmp_path / "lists").mkdir()
    for line in (str(tmp_path / "photos" / "p.png"), "../photos/p.png"):
        (tmp_path / "lists" / "l.txt").write_text(line)
        out = tmp_path / "out"
        tadp("predict", runs / "segmentation", tmp_path / "lists" / "l.txt", "--caption", "a ring", "--out", out)
        assert (out / "p_mask.png").is_file()
        shutil.rmtree(out)
    assert truth.read_bytes() == before
    assert len(list((tmp_path / "photos").iterdir())) == 2


@pytest.mark.parametrize("task", ["segmentation", "detection"])
def test_names_that_are_no_utf_8_or_too_long_do_not_stop_the_others(runs, tmp_path, task):
    folder, latin = tmp_path / "in", b"caf\xe9".decode("utf-8", "surrogateescape")
    for name in ("a", latin, "x" * 250):
        plain(folder / f"{name}.png", "red")
    out = tmp_path / "out"
    said = tadp("predict", runs / task, folder, "--caption", "a ring", "--out", out, code=1)
    assert "2 predicted, 1 failed" in said
    assert "File name too long" in said
    assert (out / "a_overlay.png").is_file()
    assert (out / f"{latin}_overlay.png").is_file()
    captions = [json.loads(line)["id"] for line in (out / "captions.jsonl").read_text().splitlines()]
    assert sorted(captions) == sorted(["a", latin])


def test_images_inside_archives_are_predicted_as_files_are(runs, tmp_path):
    """Without unpacking, resumed and with captions by id; what cannot be read is named by its archive."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        scene(40 + 8 * number, 48).save(photos / f"{number}.png")
    (photos / "9.png").write_text("no image")
    with tarfile.open(tmp_path / "photos.tar", "w") as archive:
        for file in sorted(photos.iterdir()):
            archive.add(file, file.name)
    (photos / "9.png").unlink()
    captions = tmp_path / "captions.jsonl"
    captions.write_text("".join(json.dumps({"id": name, "caption": f"a star {name}"}) + "\n" for name in "0129"))
    given = ("predict", runs / "segmentation", "--captions", captions, "--format", "coco")
    tadp(*given, photos, "--out", tmp_path / "files")
    said = tadp(*given, tmp_path / "photos.tar", "--out", tmp_path / "packed", code=1)
    assert "3 predicted, 1 failed" in said or "photos.tar/9.png" in said
    records = [{r["id"]: r for r in _rows(tmp_path / out / "captions.jsonl")} for out in ("files", "packed")]
    for number in "012":
        one, other = (record[number] for record in records)
        assert (one["caption"], one["hash"], one["prompt"]) == (other["caption"], other["hash"], other["prompt"])
        overlays = [np.asarray(Image.open(tmp_path / out / f"{number}_overlay.png")) for out in ("files", "packed")]
        assert np.mean(overlays[0] == overlays[1]) > 0.99
    again = tadp(*given, tmp_path / "photos.tar", "--out", tmp_path / "packed", code=1)
    assert "photos.tar/9.png" in again
    assert len(_rows(tmp_path / "packed" / "captions.jsonl")) == 3


def _rows(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.mark.slow
def test_launched_processes_share_the_images(runs, tmp_path):
    """Each image once; the first process writes the annotation tool's file of all, and tells of all."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(5):
        scene(40 + 8 * number, 48).save(photos / f"{number}.png")
    given = [str(runs / "segmentation"), str(photos), "--caption", "a star", "--format", "coco", "--batch-size", "2"]
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2"]
    launch += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no", "--main_process_port", "0"]
    command = [*launch, "--no_python", sys.executable, "-c", "from tadp_cli.main import app; app()", "predict", *given]
    out = tmp_path / "shared"
    first = subprocess.run([*command, "--out", str(out)], capture_output=True, text=True, timeout=600)
    assert first.returncode == 0, first.stdout + first.stderr[-3000:]
    assert first.stdout.count("5 predicted, 0 failed") == 1
    tadp("predict", *given, "--out", tmp_path / "one")
    assert {path.name for path in out.iterdir()} == {path.name for path in (tmp_path / "one").iterdir()}
    rows = [sorted(_rows(folder / "captions.jsonl"), key=lambda row: row["id"]) for folder in (out, tmp_path / "one")]
    for row in (*rows[0], *rows[1]):
        row.pop("source")
    assert rows[0] == rows[1]
    assert "0 predicted, 0 failed, 5 were there already" in tadp("predict", *given, "--out", out)
