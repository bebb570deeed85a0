"""`tadp explain`: one heat map per word, on the image, from a backbone or from a run."""

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from PIL import Image
from typer.testing import CliRunner

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.word_attention import find_word, heat_maps
from tadp_cli.main import app
from tadp_heads import PerceptionModel
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.data.scenes.write import write_scenes


def tadp(*arguments, code=0):
    if arguments[0] == "explain" and not {"--run", "--backbone"} & set(arguments):
        arguments = (*arguments, "--backbone", "tiny")  # the images are none of a data set
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output + str(result.exception)
    return result.stdout if code == 0 else result.output  # bars of the libraries go to stderr


def said_words(output):
    return [line.split()[0] for line in output.splitlines() if " max " in line]


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(render(sample_scene(5, 0), "photo").image).crop((0, 0, 64, 45)).save(tmp_path / "scene.png")
    return tmp_path / "scene.png"


def test_every_word_gets_its_map_as_picture_and_numbers(picture, tmp_path):
    prompt = "a red circle, and a tree"
    said = tadp("explain", picture, "--caption", prompt, "--out", tmp_path / "new" / "words.png")
    assert said_words(said) == ["a", "red", "circle", "and", "a", "tree"]
    with Image.open(tmp_path / "new" / "words.png") as figure:
        assert figure.width > 64
        assert len(set(figure.convert("L").tobytes())) > 50
    arrays = np.load(tmp_path / "new" / "words.npz")
    assert arrays["maps"].shape == (6, 45, 64)
    assert str(arrays["prompt"]) == prompt
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["words.npz", "words.png"]

    backbone = DiffusionBackbone.from_pretrained("tiny")
    pixels = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        features = backbone(pixels, backbone.encode_text([prompt]))
    expected = heat_maps(features, [find_word(backbone.tokenizer, prompt, "tree")])[0]
    torch.testing.assert_close(torch.from_numpy(arrays["maps"][5]), expected, atol=1e-4, rtol=1e-3)


SUB_TOKENS = "a red hexagon with sunflowers"  # sunflowers: four tokens


def features_of(picture, prompt):
    """The backbone's own, by a pass of its own."""
    backbone = DiffusionBackbone.from_pretrained("tiny")
    pixels = torch.from_numpy(np.array(Image.open(picture).convert("RGB"))).permute(2, 0, 1)[None] / 127.5 - 1
    with torch.no_grad():
        return backbone, backbone(pixels, backbone.encode_text([prompt]))


@pytest.mark.parametrize("size", [(64, 45), (37, 70), (20, 64)])
def test_a_words_map_is_the_backbones_attention_row(picture, tmp_path, size):
    Image.open(picture).resize(size).save(tmp_path / "shaped.png")
    tadp("explain", tmp_path / "shaped.png", "--caption", SUB_TOKENS, "--ends", "--out", tmp_path / "w.png")
    arrays = np.load(tmp_path / "w.npz")
    backbone, features = features_of(tmp_path / "shaped.png", SUB_TOKENS)
    assert list(arrays["words"]) == ["<begin>", "a", "red", "hexagon", "with", "sunflowers", "<end>"]
    rows = [[0], [1], [2], [3], [4], [5, 6, 7, 8], [9]]
    assert backbone.tokenizer(SUB_TOKENS).input_ids[9] == backbone.tokenizer.eos_token_id
    for stride, attention in features.attention.items():
        expected = torch.stack([attention[0, row].sum(0) for row in rows])
        assert expected.shape[1:] == (-(-size[1] // stride), -(-size[0] // stride))
        torch.testing.assert_close(torch.from_numpy(arrays[f"cells_{stride}"]), expected, atol=1e-5, rtol=1e-4)
    assert arrays["maps"].shape == (7, size[1], size[0])
    # Pooled, a map has the mean of what it was pooled from, wherever no edge cuts cells.
    if all(side % 16 == 0 for side in size):
        means = np.mean([arrays[f"cells_{stride}"].mean((1, 2)) for stride in features.attention], axis=0)
        np.testing.assert_allclose(arrays["maps"].mean((1, 2)), means, rtol=1e-4)


def test_strides_and_layers_can_be_shown_apart(picture, tmp_path):
    arguments = ("explain", picture, "--caption", "a tree", "--layers", "--strides", "8", "--out", tmp_path / "w.png")
    assert "strides (3 cross-attention layers at 8)" in " ".join(tadp(*arguments).split())
    arrays = np.load(tmp_path / "w.npz")
    _, features = features_of(picture, "a tree")
    assert len(arrays["layers"]) == 3
    assert "cells_4" not in arrays
    mean = np.mean([arrays[f"layer_{index}"] for index in range(3)], axis=0)
    np.testing.assert_allclose(mean, features.attention[8][0, 1:3].numpy(), atol=1e-5)
    expected = torch.nn.functional.interpolate(torch.from_numpy(mean)[None], scale_factor=8, mode="bilinear")
    np.testing.assert_allclose(arrays["maps"], expected[0, :, :45, :64].numpy(), atol=1e-5)


def test_two_prompts_side_by_side(picture, tmp_path, monkeypatch):
    """The image is encoded once."""
    encoded, encode = [], AutoencoderKL.encode
    monkeypatch.setattr(AutoencoderKL, "encode", lambda vae, images: encoded.append(len(images)) or encode(vae, images))
    said = tadp("explain", picture, "--compare", "a tree", "a star, a tree", "--out", tmp_path / "pair.png")
    assert said_words(said) == ["a", "tree", "a", "star", "a", "tree"]
    assert encoded == [1]
    arrays = np.load(tmp_path / "pair.npz")
    assert [str(arrays["prompt"]), str(arrays["prompt_b"])] == ["a tree", "a star, a tree"]
    _, features = features_of(picture, "a star, a tree")
    np.testing.assert_allclose(arrays["cells_4_b"][3], features.attention[4][0, 5], atol=1e-5)


def test_large_images_are_scaled_down(picture, tmp_path):
    Image.open(picture).resize((1280, 900)).save(tmp_path / "large.png")
    tadp("explain", tmp_path / "large.png", "--caption", "tree", "--size", "128", "--out", tmp_path / "words.png")
    assert np.load(tmp_path / "words.npz")["maps"].shape == (1, 90, 128)


def test_a_runs_prompt_is_explained_and_its_prediction_shown(picture, tmp_path):
    write_scenes(tmp_path / "photo", task="segmentation", domain="photo", split="train", count=2, seed=0)
    write_scenes(tmp_path / "photo", task="segmentation", domain="photo", split="val", count=2, seed=1)
    settings = ("train.steps=1", "train.batch_size=2", "prompt.kind=class-names")
    options = [option for setting in settings for option in ("--set", setting)]
    tadp("train", "scenes-segmentation", "--data", tmp_path / "photo", "--out", tmp_path / "run", *options)
    said = tadp("explain", picture, "--run", tmp_path / "run", "--out", tmp_path / "words.png")
    arrays = np.load(tmp_path / "words.npz")
    assert list(arrays["words"]) == said_words(said)
    assert set(arrays["words"]) >= {"circle", "tree"}
    model = PerceptionModel.from_pretrained(tmp_path / "run")  # the maps are of the run's pass
    passes = []
    model.backbone.register_forward_hook(lambda _, __, features: passes.append(features))
    model.predict(Image.open(picture).convert("RGB"))
    (features,) = passes
    first = features.attention[4][0, 1, : -(-45 // 4)]
    np.testing.assert_allclose(arrays["cells_4"][0], first, atol=1e-5)
    refused = tadp("explain", picture, "--run", tmp_path / "run", "--caption", "x", "--out", tmp_path / "w.png", code=2)
    assert "was trained without captions: leave --caption" in " ".join(refused.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("{picture}", "--out", "{tmp}/w.png"), "no text: give it with --caption"),
        (("{picture}", "--caption", "...", "--out", "{tmp}/w.png"), "has no words"),
        (("{picture}", "--caption", "a <night> tree", "--out", "{tmp}/w.png"), "unknown token '<night>'"),
        (("{picture}", "--caption", "tree", "--out", "{tmp}/w.jpg"), "expected the name of a .png file"),
        (("{picture}", "--caption", "tree", "--size", "0", "--out", "{tmp}/w.png"), "--size is 0"),
        (("{picture}", "--caption", "tree", "--backbone", "sd16", "--out", "{tmp}/w.png"), "no backbone 'sd16'"),
        (("{picture}", "--caption", "tree", "--strides", "4,x", "--out", "{tmp}/w.png"), "--strides is '4,x'"),
        (("{picture}", "--caption", "tree", "--strides", "64", "--out", "{tmp}/w.png"), "has it at strides 4, 8"),
        (("{picture}", "--caption", "a", "--compare", "a", "b", "--out", "{tmp}/w.png"), "leave --caption"),
        (("{picture}", "--run", "{tmp}/no", "--out", "{tmp}/w.png"), "is no run"),
        (("{tmp}/no.png", "--caption", "tree", "--out", "{tmp}/w.png"), "no.png"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(picture, tmp_path, arguments, message):
    filled = [argument.format(tmp=tmp_path, picture=picture) for argument in arguments]
    said = " ".join(tadp("explain", *filled, code=2).split())
    assert message in said
    assert said.count("error:") == 1
    assert "Traceback" not in said
    assert [path.name for path in tmp_path.iterdir()] == ["scene.png"]


def test_the_tiny_model_names_the_words_it_never_read(tmp_path):
    Image.new("RGB", (64, 64), "green").save(tmp_path / "a.png")
    said = tadp("explain", tmp_path / "a.png", "--caption", "a giraffe and a circle", "--out", tmp_path / "w.png")
    assert "never read giraffe:" in said
