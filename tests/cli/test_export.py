"""`tadp export`: the file gives what the run's model gives, for what its card says it takes."""

import shutil

import pytest
import torch
from invoking import tadp

from tadp_cli.deployment import export as deployment
from tadp_cli.deployment.export import exportable_model, size_of
from tadp_heads import PerceptionModel

onnxruntime = pytest.importorskip("onnxruntime", reason="the extra tadp-heads[export] is not installed")
TEXTS = ["a red circle", "a house and a tree"]


@pytest.fixture(scope="module")
def run(repository, tmp_path_factory):
    """Of captions, in which a learned token names the domain; its training images are not there."""
    return shutil.copytree(
        repository / "tests" / "data" / "first_layout" / "run", tmp_path_factory.mktemp("export") / "run"
    )


@pytest.fixture(scope="module")
def model(run):
    return PerceptionModel.from_pretrained(run)


# An export with a UNet takes half a minute of a slow core: tests/heads/test_export.py has the quick ones.
@pytest.fixture(scope="module")
def of_captions(run):
    file = run.parent / "of captions.onnx"
    return file, tadp("export", run, "--size", "30x44", "--device", "cpu", "--out", file)


def outputs(file, **inputs):
    session = onnxruntime.InferenceSession(file)
    assert [value.name for value in session.get_inputs()] == list(inputs)
    names = [value.name for value in session.get_outputs()]
    found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return dict(zip(names, map(torch.from_numpy, found), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 2])
def test_one_graph_for_any_number_of_images_and_any_caption(model, of_captions, count):
    images = torch.rand(count, 3, 30, 44) * 2 - 1
    file, _ = of_captions
    with torch.no_grad():
        context = model.encode_captions(TEXTS[:count])
        expected = model(images, context).logits
    found = outputs(file, images=images, context=context)
    torch.testing.assert_close(found["logits"], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_text_encoder_is_a_second_file(model, of_captions):
    file, output = of_captions
    text_file = file.with_name("of captions_text.onnx")
    assert str(text_file) in output
    tokenizer = type(model.backbone.tokenizer).from_pretrained(file.with_name("of captions_text_tokenizer"))
    length = model.backbone.tokenizer.model_max_length
    ids = tokenizer(TEXTS, padding="max_length", max_length=length, return_tensors="pt").input_ids
    with torch.no_grad():
        expected = model.backbone.encode_text(TEXTS)
    torch.testing.assert_close(outputs(text_file, input_ids=ids)["context"], expected, atol=1e-4, rtol=1e-4)


@pytest.mark.slow
def test_the_card_describes_inputs_and_outputs(of_captions):
    file, output = of_captions
    card = file.with_suffix(".md").read_text()
    assert "`images` float32 (N, 3, H, W): RGB in [-1, 1]" in card
    assert "H = 30, W = 44" in card
    assert "`context` float32 (N, T, D)" in card
    assert "`logits` float32 (N, C, H, W)" in card
    assert "0 `background`, 1 `circle`" in card
    assert "licence: of the weights of" in card
    assert "largest difference: logits" in output
    assert "exported:" in output


@pytest.mark.slow
def test_one_caption_is_folded_in_and_the_image_is_the_only_input(run, model, tmp_path):
    file = tmp_path / "red.onnx"
    tadp("export", run, "--size", "dynamic", "--caption", TEXTS[0], "--precision", "fp16", "--out", file)
    images = torch.rand(3, 3, 48, 96) * 2 - 1
    with torch.no_grad():
        expected = model(images, model.encode_captions([TEXTS[0]])).logits
    found = outputs(file, images=images)["logits"]
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=0.05 * float(expected.abs().max()), rtol=0)
    assert "of a red circle`, a constant of the graph" in file.with_suffix(".md").read_text()
    assert "H and W multiples of" in file.with_suffix(".md").read_text()
    assert not file.with_name("red_text.onnx").exists()


@pytest.mark.slow
def test_a_compiled_package_gives_the_same(run, model, tmp_path):
    file = tmp_path / "red.pt2"
    output = tadp("export", run, "--format", "pt2", "--size", "32x32", "--caption", TEXTS[0], "--out", file)
    assert "largest difference: logits" in output
    images = torch.rand(3, 3, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = model(images, model.encode_captions([TEXTS[0]])).logits
        (found,) = torch._inductor.aoti_load_package(str(file))(images=images)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--format", "tflite"), "unknown format 'tflite'; choose from onnx, pt2"),
        (("--precision", "int8"), "unknown precision 'int8'; choose from fp32, fp16"),
        (("--size", "512"), "--size is '512', expected height x width in pixels, such as 512x512, or dynamic"),
        (("--format", "pt2"), "expected a file that ends in .pt2, as the format is pt2"),
    ],
)
def test_wrong_options_are_one_line_before_a_model_is_loaded(run, tmp_path, options, message, monkeypatch):
    monkeypatch.setattr(deployment, "exportable_model", lambda _: pytest.fail("loaded"))
    assert message in tadp("export", run, "--out", tmp_path / "a.onnx", *options, code=2)
    assert list(tmp_path.iterdir()) == []


def test_sizes():
    assert size_of("480x640") == (480, 640)
    assert size_of("") is None


def test_a_sampled_posterior_becomes_its_mode_with_a_warning(run, tmp_path, caplog):
    sampled = shutil.copytree(run, tmp_path / "run")
    file = sampled / "backbone" / "config.json"
    file.write_text(file.read_text().replace('"mode"', '"sample"'))
    assert not exportable_model(sampled).backbone.is_stochastic
    assert "takes its mode" in caplog.text
