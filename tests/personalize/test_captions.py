"""Training sentences that say what each image shows, so that the token only represents the domain."""

import json
from dataclasses import replace

import pytest
import torch

from tadp_personalize import TextualInversionConfig, textual_inversion
from tadp_personalize.io.pipeline_parts import load_base
from tadp_personalize.prompts import CAPTION_TEMPLATES, fill, plain
from tadp_personalize.run import image_source
from tadp_personalize.training.sampler import Batches, image_order, token_ids

CONFIG = TextualInversionConfig(
    steps=2, learning_rate=1e-2, batch_size=2, accumulate=1, templates=CAPTION_TEMPLATES, held_out_timesteps=2
)


def name_the_size(images):
    """A captioner of sorts."""
    return [f"a {image.width} by {image.height} {'comic'[: 1 + i]}" for i, image in enumerate(images)]


def test_the_plain_sentence_is_the_caption_itself():
    assert {plain(template, "a red star") for template in CAPTION_TEMPLATES} == {"a red star"}
    assert fill(CAPTION_TEMPLATES[0], "<x>", "a red star") == "a <x> style painting of a red star"
    assert fill("[{token}] {caption}", "<x>", "an [odd] {token}") == "<x> an [odd] {token}"  # not a template


def test_each_sample_has_a_sentence_of_its_own_image(pipe, pictures):
    base = load_base(pipe)
    prompts = [[f"{'a' * (1 + i)} {word}" for word in ("comic", "painting")] for i in range(4)]
    source = image_source("images", base, pictures, prompts, CONFIG)
    batches = Batches(sources=(source,), batch_size=3, timesteps=1000, stratified=False, seed=1)
    for index in range(6):
        shown = image_order(4, 3 * index, 3, 1, "images")
        for image, ids in zip(shown, batches[index].ids, strict=True):
            assert any(torch.equal(ids, row) for row in token_ids(base.tokenizer, prompts[image]))


def test_captions_are_written_down_and_measured_with(pipe, pictures, make_pictures, tmp_path):
    unseen = make_pictures(2, seed=3)
    result = textual_inversion(pipe, pictures, config=CONFIG, out=tmp_path, held_out=unseen, captioner=name_the_size)
    card = json.loads((tmp_path / "personalization.json").read_text())
    assert list(card["captions"].values()) == name_the_size(pictures)
    output = json.loads((tmp_path / "results.json").read_text())["held_out"]["prompts"]
    assert output["plain"] == "a 24 by 20 c"
    assert output["learnt"] == "a <watercolor> style painting of a 24 by 20 c"
    assert output["empty"] == ""
    assert len({result.after[kind] for kind in ("learnt", "plain", "empty")}) == 3


def test_other_captions_are_another_run(pipe, pictures, tmp_path):
    textual_inversion(pipe, pictures, config=CONFIG, out=tmp_path, captioner=name_the_size)
    with pytest.raises(ValueError, match="captions was"):
        textual_inversion(
            pipe, pictures, config=CONFIG, out=tmp_path, resume=True, captioner=lambda images: ["a"] * len(images)
        )


@pytest.mark.parametrize(
    ("templates", "captioner", "message"),
    [
        (CAPTION_TEMPLATES, None, "no captioner was given for templates such as"),
        (("a {token} picture",), name_the_size, "a captioner was given for templates such as 'a {token} picture'"),
        (CAPTION_TEMPLATES, lambda images: ["one"], "1 captions for 4 images"),
    ],
)
def test_captioner_and_templates_go_together(pipe, pictures, tmp_path, templates, captioner, message):
    with pytest.raises(ValueError, match=message):
        textual_inversion(
            pipe, pictures, config=replace(CONFIG, templates=templates), out=tmp_path, captioner=captioner
        )
