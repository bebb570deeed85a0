"""`tadp personalize` through files on disk, with the tiny models."""

import json
import re

import pytest
import torch
from diffusers import StableDiffusionPipeline
from invoking import tadp
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tadp_backbone import DiffusionBackbone
from tadp_backbone.registry import TINY_FOLDER
from tadp_captioning import DOMAINS
from tadp_cli.config.recipe import load_recipe
from tadp_cli.pipelines.personalize import draw_domain, sentences, settings, settings_by_method
from tadp_cli.pipelines.train import load_backbone
from tadp_personalize.prompts import fill, plain


def personalize(*arguments, code=0):
    return tadp("personalize", *arguments, code=code)


def losses_in(said, row):
    return [float(number) for number in re.search(rf"{row}([ │|0-9.]+)", said).group(1).replace("│", " ").split()]


def test_both_methods_side_by_side_on_a_folder_with_its_troubles(tmp_path):
    pictures, held_out = draw_domain(tmp_path / "scenes", "comic", 3, seed=5)
    images = pictures / "images"
    names = sorted(path.name for path in images.iterdir())
    with Image.open(images / names[0]) as first:
        first.save(images / "copy.webp", lossless=True)
    (images / "damaged.jpg").write_bytes(b"\xff\xd8\xff")
    (images / "phone.heic").write_bytes(b"no picture")
    for unseen in sorted((held_out / "images").iterdir())[2:]:
        unseen.unlink()
    out = tmp_path / "out"
    given = ("--domain", "comic", "--images", pictures, "--held-out", held_out, "--method", "both", "--steps", "1")
    said = personalize(*given, "--rank", "2", "--set", "held_out_timesteps=1", "--out", out)
    assert "3 images used, 2 skipped, 1 duplicates" in said
    assert "skipped damaged.jpg: cannot be read" in said
    assert "skipped phone.heic" in said
    results = json.loads((out / "results.json").read_text())
    assert list(results) == ["textual-inversion", "dreambooth"]
    for kind, row in (("learnt", "learned"), ("plain", "plain"), ("empty", "empty")):
        output = [results[name]["held_out"][when][kind] for name in results for when in ("before", "after")]
        assert losses_in(said, row) == pytest.approx(output, abs=6e-6)
    card = json.loads((out / "textual-inversion" / "personalization.json").read_text())
    assert set(card["captions"]) == set(names)
    assert not any("comic" in caption for caption in card["captions"].values())
    assert (out / "dreambooth" / "pytorch_lora_weights.safetensors").is_file()
    assert results["dreambooth"]["trained_parameters"] == parameters_of_rank(2)
    check_that_both_libraries_load(out / "textual-inversion", out / "dreambooth")
    check_that_recipes_take_it(out / "dreambooth")


def check_that_recipes_take_it(lora):
    """As a folder or a file, scaled; not on another model than it was learned on."""
    file = lora / "pytorch_lora_weights.safetensors"
    use = ("prompt.modifier=dreambooth", "prompt.domain=comic", f"backbone.lora={lora}")
    unet = load_backbone(load_recipe("scenes-segmentation", use), "cpu").unet
    plain = load_backbone(load_recipe("scenes-segmentation"), "cpu").unet
    halved = (f"backbone.lora={file}", "backbone.lora_scale=0.5")
    half = load_backbone(load_recipe("scenes-segmentation", (*use, *halved)), "cpu").unet
    name = next(name for name, _ in plain.named_parameters() if name.endswith("attn2.to_k.weight"))
    before, after, between = (model.get_parameter(name).detach() for model in (plain, unet, half))
    assert not torch.equal(before, after)
    torch.testing.assert_close(between, (before + after) / 2)
    with safe_open(file, framework="pt") as tensors:
        header = tensors.metadata() | {"base": "sha256:another"}
    save_file(load_file(file), file, metadata=header)
    with pytest.raises(ValueError, match="was made on another base model"):
        load_backbone(load_recipe("scenes-segmentation", use), "cpu")


def check_that_both_libraries_load(token, lora):
    pipe = StableDiffusionPipeline.from_pretrained(TINY_FOLDER, safety_checker=None).to(torch.float32)
    pipe.load_textual_inversion(str(token))
    rows = load_file(token / "learned_embeds.safetensors")["<comic>"]
    ids = pipe.tokenizer.convert_tokens_to_ids(["<comic>"])
    torch.testing.assert_close(pipe.text_encoder.get_input_embeddings().weight[ids].detach(), rows)
    pipe.load_lora_weights(str(lora))
    backbone = DiffusionBackbone.from_pretrained("tiny")
    backbone.load_tokens(token)
    backbone.load_lora(lora)
    prompt = "a <comic> style painting of a red star"
    latents, step = torch.randn(1, 4, 16, 16, generator=torch.Generator().manual_seed(0)), torch.tensor([100])
    with torch.no_grad():
        context = backbone.encode_text([prompt])
        torch.testing.assert_close(context, pipe.encode_prompt(prompt, "cpu", 1, False)[0], rtol=1e-4, atol=1e-5)
        predicted = [model(latents, step, context).sample for model in (backbone.unet, pipe.unet)]
    torch.testing.assert_close(*predicted, rtol=1e-3, atol=1e-4)


def parameters_of_rank(rank):
    unet = StableDiffusionPipeline.from_pretrained(TINY_FOLDER, safety_checker=None).unet
    layers = [m for n, m in unet.named_modules() if n.endswith(("to_q", "to_k", "to_v", "to_out.0"))]
    return sum(rank * (layer.in_features + layer.out_features) for layer in layers)


def test_a_finished_run_resumes_for_more_steps(tmp_path):
    pictures, _ = draw_domain(tmp_path / "scenes", "watercolor", 3, seed=5)
    out = tmp_path / "out"
    given = ("--domain", "watercolor", "--images", pictures, "--captioner", "none", "--out", out)
    assert "no held-out images, so no number" in personalize(*given, "--steps", "1")
    personalize(*given, "--steps", "2", "--resume")
    assert [json.loads(line)["step"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [1, 2]


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["sd15", "sd21"])
def test_dry_run_at_full_size_needs_no_weights(backbone):
    said = personalize(
        "--domain", "comic", "--backbone", backbone, "--dry-run", "--method", "both", "--vectors", "3", "--rank", "4"
    )
    width = {"sd15": 768, "sd21": 1024}[backbone]
    assert f"textual-inversion: trains {3 * width:,} numbers" in said
    widths = [320] * 5 + [640] * 5 + [1280] * 6  # attention blocks: 2 down and 3 up a stride, one in the middle
    lora = 4 * sum(12 * w + 2 * (width + w) for w in widths)  # self: q k v out; cross: q out from w, k v from the text
    assert f"dreambooth: trains {lora:,} numbers" in said
    assert said.count("total") == 2


def test_dry_run_of_the_whole_unet():
    said = personalize("--domain", "comic", "--backbone", "sd15", "--dry-run", "--method", "dreambooth")
    assert "dreambooth: trains 859,520,964 numbers" in said


def test_a_lora_learns_faster_than_a_whole_unet():
    whole, lora = settings("dreambooth", "sd15"), settings("dreambooth", "sd15", rank=4)
    assert (whole.lora, lora.lora.rank, lora.lora.alpha) == (None, 4, 4.0)
    assert lora.learning_rate >= 10 * whole.learning_rate
    named = settings("dreambooth", "sd15", "paper-d1", rank=4)
    assert (named.learning_rate, named.lora.rank) == (2e-6, 4)  # who names a preset gets its rate
    assert settings("dreambooth", "tiny", rank=4).steps == settings("dreambooth", "tiny").steps


def test_of_both_methods_each_takes_its_own():
    token, tune = settings_by_method("both", "sd15", vectors=3, rank=4, steps=7).values()
    assert (token.vectors, token.steps, tune.lora.rank, tune.steps) == (3, 7, 4, 7)
    assert token.learning_rate == settings("textual-inversion", "sd15").learning_rate


@pytest.mark.parametrize("name", DOMAINS)
def test_the_first_sentence_is_the_one_in_which_the_token_is_used(name):
    domain = DOMAINS[name]
    first = sentences(domain)[0]
    assert fill(first, domain.token, "a red star") == domain.learned.format(token=domain.token, caption="a red star")
    assert {plain(sentence, "a red star") for sentence in sentences(domain)} == {"a red star"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--domain", "comic", "--held-out", "{tmp}", "--out", "{tmp}/t"), "--held-out goes with --images"),
        (("--domain", "comic", "--backbone", "sd99", "--dry-run"), "no backbone 'sd99'"),
        (
            ("--domain", "comic", "--images", "{tmp}", "--out", "{tmp}/t", "--backbone", "tiny"),
            "0 usable images, at least 3 are needed",
        ),
        (("--domain", "comic", "--preset", "best", "--out", "{tmp}/t"), "unknown preset 'best'"),
        (("--domain", "comic", "--steps", "0", "--out", "{tmp}/t"), "steps must be at least 1"),
        (("--domain", "comic", "--rank", "8", "--out", "{tmp}/t"), "--rank 8 goes with --method dreambooth or both"),
        (
            ("--domain", "comic", "--method", "dreambooth", "--vectors", "2", "--out", "{tmp}/t"),
            "--vectors 2 goes with --method textual-inversion or both",
        ),
        (("--domain", "comic", "--captioner", "blop", "--out", "{tmp}/t"), "blop"),
    ],
)
def test_wrong_use_is_one_line(tmp_path, arguments, message):
    said = personalize(*(argument.format(tmp=tmp_path) for argument in arguments), code=2)
    assert message in said
    assert said.count("error:") == 1
    assert not any(tmp_path.iterdir())
