"""Prompts in the real model's tokens: names of several tokens, learned tokens, and texts longer than 77."""

import pytest
import torch
from full_scale import CAPTION, LONG_CAPTION
from stable_diffusion import clip_tokenizer, narrow_stable_diffusion

from tadp_backbone.text.conditioning import averaged_eos_context, class_embs_context
from tadp_backbone.text.encoder import tokenize, word_ids
from tadp_backbone.text.textual_inversion import add_tokens
from tadp_backbone.text.word_attention import find_word, words_of
from tadp_captioning import class_names_prompt

NAMES = {"cat": 1, "dining table": 2, "pottedplant": 3, "aeroplane": 2, "traffic light": 2}
"""{name: its tokens in CLIP's vocabulary}"""


@pytest.fixture(scope="module")
def backbone():
    return narrow_stable_diffusion()


def test_the_vocabulary_is_clips():
    tokenizer = clip_tokenizer()
    assert len(tokenizer) == 49408
    assert tokenizer("a photo of a cat").input_ids == [49406, 320, 1125, 539, 320, 2368, 49407]


def test_names_of_several_tokens_keep_all_of_them(backbone):
    assert {name: len(word_ids(backbone.tokenizer, name)) for name in NAMES} == NAMES
    with torch.no_grad():
        assert class_embs_context(backbone, tuple(NAMES)).shape == (1, sum(NAMES.values()), 32)
        assert averaged_eos_context(backbone, tuple(NAMES)).shape == (1, len(NAMES), 32)
    prompt = class_names_prompt(tuple(NAMES))
    for name, count in NAMES.items():
        assert len(find_word(backbone.tokenizer, prompt, name).indices) == count


def test_captions_lose_what_is_behind_token_77_and_a_warning_counts_them(backbone, caplog):
    ids = tokenize(backbone.tokenizer, [CAPTION, LONG_CAPTION])
    kept = word_ids(backbone.tokenizer, LONG_CAPTION)[:75]
    assert ids.shape == (2, 77)
    assert ids[1].tolist() == [49406, *kept, 49407]
    assert "1 of 2 texts are longer than 75 tokens and lose up to" in caplog.text
    assert max(index for word in words_of(backbone.tokenizer, LONG_CAPTION) for index in word.indices) == 75


def test_a_learned_token_takes_a_place_for_each_of_its_vectors(backbone):
    add_tokens(backbone.tokenizer, backbone.text_encoder, {"<watercolor>": torch.ones(3, 32)})
    plain, learned = (len(word_ids(backbone.tokenizer, f"a {word} painting of a cat")) for word in ("", "<watercolor>"))
    assert learned == plain + 3
    with torch.no_grad():
        assert backbone.encode_text(["a <watercolor> painting of a cat"]).shape == (1, 77, 32)
