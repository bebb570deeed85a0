"""The pre-training's parts: tokenizers, prompts, the grounding loss, the loop. The shipped weights pass their gate."""

import json
import math
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, AutoencoderTiny
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from pretrain import __main__ as pretrain
from pretrain.__main__ import HELD_OUT_SEED
from pretrain.captioner import build_captioner
from pretrain.corpus import Corpus, render_chunk
from pretrain.export import export_pipeline
from pretrain.grounding import coverage, grounding_loss
from pretrain.locality import NEIGHBOURS, attend_to_neighbours
from pretrain.loop import LoopConfig, train
from pretrain.prompts import ClassTokens, training_prompt
from pretrain.tokenizers import build_clip_tokenizer, build_gpt2_tokenizer, vocabulary
from pretrain.vae import reconstruction_db
from tadp_backbone import DiffusionBackbone
from tadp_backbone.registry import TINY_FOLDER
from tadp_captioning import load_captioner
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import TRAINED_DOMAINS, describe, sample_scene
from tadp_heads.data.scenes.shapes import CLASSES


def test_each_word_of_scenes_is_one_token_and_other_words_come_back_whole():
    clip, gpt2 = build_clip_tokenizer(), build_gpt2_tokenizer()
    assert all(len(clip.tokenize(word)) == 1 for word in vocabulary())
    assert all(len(gpt2.tokenize(f" {word}")) == 1 for word in vocabulary())
    assert gpt2.decode(gpt2(" an elephant, two stars").input_ids) == " an elephant, two stars"
    assert clip(["a circle"], padding="max_length").input_ids[0][-1] == clip.eos_token_id


@pytest.mark.parametrize("build", [build_clip_tokenizer, build_gpt2_tokenizer])
def test_tokens_have_the_same_numbers_each_time(build):
    """A training that resumes builds its tokenizer anew."""
    first, *others = (build() for _ in range(4))
    assert [other.get_vocab() for other in others] == [first.get_vocab()] * 3


def test_class_tokens_are_found_in_singular_and_plural():
    tokenizer = build_clip_tokenizer()
    ids = tokenizer(["two stars and a star", "a moon"], padding="max_length", max_length=77, return_tensors="pt")
    found = ClassTokens(tokenizer).find(ids.input_ids)  # (2, classes, 77)
    assert found.shape == (2, len(CLASSES), 77)
    star, moon = CLASSES.index("star"), CLASSES.index("moon")
    assert found[0, star].nonzero().flatten().tolist() == [2, 5]
    assert found[1, moon].nonzero().flatten().tolist() == [2]
    assert found.sum() == 3


def test_a_corpus_gives_fresh_scenes_after_each_has_been_drawn_as_often_as_asked():
    corpus = Corpus(seed=5, size=4, passes=2)
    firsts = [corpus.chunk(step, batch_size=2).first for step in range(9)]
    assert firsts == [0, 0, 0, 0, 4, 4, 4, 4, 8]
    chunk = corpus.chunk(4, batch_size=2)
    expected = render(sample_scene(5, 6), chunk.domain(2), 64)
    assert chunk.scene(2) == sample_scene(5, 6)
    assert np.array_equal(chunk.images[2], expected.image)
    assert np.array_equal(chunk.masks[2], expected.mask)


def test_the_captioners_tower_begins_with_each_head_on_its_neighbour():
    torch.manual_seed(0)
    tower = build_captioner(build_gpt2_tokenizer()).vision_model
    attend_to_neighbours(tower)
    tower.set_attn_implementation("eager")
    with torch.no_grad():
        attention = tower(torch.rand(1, 3, 64, 64) * 2 - 1, output_attentions=True).attentions[0][0]  # (heads, 65, 65)
    inner = [8 * row + column for row in range(1, 7) for column in range(1, 7)]  # patches with all four neighbours
    for head, (down, right) in enumerate(NEIGHBOURS):
        strongest = attention[head, 1:, 1:].argmax(dim=1)
        found = sum(int(strongest[place]) - place == 8 * down + right for place in inner)
        assert found > 0.9 * len(inner), (down, right)  # what the patches show adds noise


@pytest.mark.parametrize(("domain", "word", "share"), [("comic", "comic", 0.85), ("photo", "photo", 0.10)])
def test_training_prompts_come_in_the_stated_shares(domain, word, share):
    rng = np.random.default_rng(0)
    prompts = [training_prompt(sample_scene(0, i % 200), domain, rng) for i in range(3000)]
    spoken = [text for text in prompts if text]
    assert 1 - len(spoken) / len(prompts) == pytest.approx(0.10, abs=0.02)
    assert sum(word in text for text in spoken) / len(spoken) == pytest.approx(share, abs=0.03)
    sentences = sum(bool(re.search(r"\b(a|an|two|three|four) (?!comic|photo)", text)) for text in prompts)
    assert sentences / len(prompts) == pytest.approx(0.60, abs=0.04)


def test_sentences_go_from_left_to_right_or_in_any_order():
    scene = sample_scene(0, 3)
    first = min(scene.objects, key=lambda thing: thing.x)
    assert len({thing.label for thing in scene.objects}) > 1
    orders = {order: set() for order in (False, True)}
    for order, found in orders.items():
        for seed in range(20):
            words = re.findall("|".join(CLASSES), describe(scene, np.random.default_rng(seed), order))
            found.add(words[0])
    assert orders[False] == {CLASSES[first.label]}
    assert len(orders[True]) > 1


@pytest.mark.slow
def test_the_unet_trains_on_after_an_export_and_a_finished_training_exports_again(tmp_path, monkeypatch):
    """Exports once left the VAE in float16, so that the next chunk could not be encoded."""
    exports = []
    config = LoopConfig(steps=2, batch_size=2, lr=1e-3, export_minutes=0)
    monkeypatch.setattr(pretrain, "UNET", config)
    monkeypatch.setattr(pretrain, "ANY_ORDER", (replace(config, steps=1),))
    monkeypatch.setattr(pretrain, "Corpus", lambda seed: Corpus(seed, size=2, passes=1))
    monkeypatch.setattr(pretrain, "export_pipeline", lambda *given: exports.append(export_pipeline(*given)))
    monkeypatch.setattr(sys, "argv", ["pretrain", "--stages", "backbone", "--out", str(tmp_path)])
    pretrain.main()
    pretrain.main()
    # Of the first part after its first step and at its end, of the second at its end; then of both, which had ended.
    assert len(exports) == 5
    folder = tmp_path / "unet-grounding-0.5"
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2]
    weights = load_file(folder / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors")
    assert {tensor.dtype for tensor in weights.values()} == {torch.float16}
    assert DiffusionBackbone.from_pretrained(folder / "pipeline").levels


def test_every_stage_makes_a_part_that_loads(tmp_path, monkeypatch):
    """One step of each, in the order in which `python3 tasks.py pretrain` runs them."""
    step = LoopConfig(steps=1, batch_size=2, lr=1e-3)
    for name in ("VAE", "ENCODER", "UNET"):
        monkeypatch.setattr(pretrain, name, step)
    monkeypatch.setattr(pretrain, "ANY_ORDER", (step, replace(step, seed=1)))
    monkeypatch.setattr(pretrain, "CAPTIONER", ((step, step), (step, step)))
    monkeypatch.setattr(pretrain, "Corpus", lambda seed: Corpus(seed, size=4, passes=1))
    monkeypatch.setattr(sys, "argv", ["pretrain", "--out", str(tmp_path)])
    pretrain.main()
    vae = AutoencoderKL.from_pretrained(tmp_path / "vae" / "trained").float()
    pipeline = DiffusionBackbone.from_pretrained(tmp_path / "unet-grounding-0.5" / "pipeline")
    own, shipped = (model.state_dict()["quant_conv.weight"] for model in (vae, pipeline.vae))
    assert torch.allclose(own, shipped, atol=1e-3)  # trained on its own VAE, not on the one that ships
    encoder = AutoencoderTiny.from_pretrained(tmp_path / "encoder" / "trained").float()
    assert encoder.encode(torch.zeros(1, 3, 64, 64)).latents.shape == (1, 4, 16, 16)
    (text,) = load_captioner(tmp_path / "captioner" / "captioner").caption([Image.new("RGB", (64, 64))])
    assert isinstance(text, str)


def test_coverage_is_the_share_of_pixels():
    masks = torch.full((1, 4, 4), 2)
    masks[0, 0, :3] = 1
    covered = coverage(masks, num_classes=2, side=2)  # class 2 is the ground
    assert covered.shape == (1, 2, 4)
    assert covered[0, 1].tolist() == [0.5, 0.25, 0.0, 0.0]
    assert not covered[0, 0].any()


def test_grounding_loss_is_the_cross_entropy_of_words_and_the_rest():
    maps = torch.tensor([[[0.6, 0.3, 0.1], [0.2, 0.2, 0.6]]])  # (1, 2 cells, 3 tokens)
    tokens = torch.tensor([[[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]])  # token 1 is class 0; class 1 is not in the prompt
    covered = torch.tensor([[[0.5, 0.0], [0.25, 1.0]]])
    cells = [
        -(0.5 * math.log(0.3 + 1e-4) + 0.5 * math.log(0.7 + 1e-4)),
        -math.log(0.8 + 1e-4),
    ]
    loss = grounding_loss(maps, tokens, covered, weight=torch.tensor([0.5]))
    assert loss.item() == pytest.approx(0.5 * sum(cells) / 2, abs=1e-6)


def test_a_resumed_pretraining_equals_one_that_was_never_stopped(tmp_path):
    def run(folder, *steps):
        for count in steps:
            torch.manual_seed(0)
            module = nn.Linear(3, 1)

            def step_loss(_step, generator, module=module):
                x = torch.randn(8, 3, generator=generator)
                return (module(x) - x.sum(1, keepdim=True)).square().mean(), {}

            config = LoopConfig(steps=count, batch_size=8, lr=0.1, warmup=8, save_every=3, log_every=2, seed=1)
            train(module, step_loss, config, folder)
        return module.weight

    # The warm-up spans both parts, so that the rate does not depend on where the end is.
    whole, parts = run(tmp_path / "whole", 6), run(tmp_path / "parts", 3, 6)
    assert torch.equal(whole, parts)
    lines = (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == [2, 3, 4, 6]


def test_the_shipped_vae_reconstructs_every_domain():
    """The gate of its weights: 26 dB in each domain, on unseen images."""
    vae = AutoencoderKL.from_pretrained(TINY_FOLDER / "vae").float()
    found = reconstruction_db(vae, render_chunk(HELD_OUT_SEED, 0, 16))
    assert set(found) == set(TRAINED_DOMAINS)
    assert min(found.values()) > 26, found


def test_the_shipped_backbone_points_at_what_it_is_asked_for(tmp_path):
    """The gate of the weights, on few pictures and with room for chance: words attend to their objects."""
    from tadp_cli.experiments.pointing_game import pointing_game
    from tadp_heads.data.readers.user_folder import open_folder
    from tadp_heads.data.scenes.write import write_scenes

    write_scenes(tmp_path, task="segmentation", domain="photo", split="val", count=30, seed=101)
    shares = pointing_game(DiffusionBackbone.from_pretrained("tiny"), open_folder(tmp_path, split="val"))
    assert shares["own_word"] > 0.75
    assert shares["own_word"] > 5 * shares["other_word"]


def test_the_shipped_captioner_names_what_is_there(tmp_path):
    """The gate of its weights, with room for chance: guessing would give about 0.19."""
    from tadp_captioning.stats import class_report
    from tadp_cli.prompts.captions import Author, captions_of
    from tadp_heads.data.class_names import object_names
    from tadp_heads.data.present_classes import present_classes
    from tadp_heads.data.readers.user_folder import open_folder
    from tadp_heads.data.scenes.write import write_scenes

    write_scenes(tmp_path, task="segmentation", domain="photo", split="val", count=60, seed=101)
    dataset = open_folder(tmp_path, split="val")
    store = captions_of(dataset, None, Author(captioner="tiny"), written_to=tmp_path / "captions.jsonl")
    found = class_report(store, present_classes(dataset), object_names(dataset.prompt_names)).overall
    assert found.precision > 0.75
    assert found.recall > 0.75
