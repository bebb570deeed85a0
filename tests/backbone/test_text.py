"""Tokens, conditionings, their cache, and words."""

import logging
from functools import partial

import pytest
import torch
from safetensors.torch import save_file
from torch.testing import assert_close

from tadp_backbone import Features
from tadp_backbone.text.cache import TextCache
from tadp_backbone.text.conditioning import (
    averaged_eos_context,
    build_context,
    caption_context,
    class_embs_context,
    class_names_context,
    clip_templates,
    concatenate,
    empty_context,
)
from tadp_backbone.text.word_attention import Word, find_word, heat_maps, words_of


@pytest.fixture
def backbone(make_backbone):
    return make_backbone(text=True)


def last_hidden(backbone, text):
    """By the tokenizer's own padding."""
    ids = backbone.tokenizer(
        [text], padding="max_length", max_length=77, truncation=True, return_tensors="pt"
    ).input_ids
    return backbone.text_encoder(ids).last_hidden_state


def test_text_is_the_encoders_last_hidden_state(backbone, caplog):
    texts = ["a cat", "", "dog " * 75]
    got = backbone.encode_text(texts)
    assert got.shape == (3, 77, 64)
    assert_close(got, torch.cat([last_hidden(backbone, text) for text in texts]))
    assert not caplog.records
    assert_close(backbone.encode_text("a cat"), got[:1])


def test_long_texts_are_cut_with_one_counted_warning_or_chunked(backbone, caplog):
    long = "cat " * 80 + "dog"
    with caplog.at_level(logging.WARNING):
        cut = backbone.encode_text(["cat", long, long])
    assert [record.getMessage() for record in caplog.records] == [
        "2 of 3 texts are longer than 75 tokens and lose up to 6"
    ]
    assert_close(cut[1:2], last_hidden(backbone, long))
    chunked = backbone.encode_text(["cat", long], long="chunk")
    assert chunked.shape == (2, 154, 64)
    assert_close(chunked[1:, 77:], last_hidden(backbone, "cat cat cat cat cat dog"))
    assert_close(chunked[:1, 77:], last_hidden(backbone, ""))
    with pytest.raises(ValueError, match="expected 'truncate' or 'chunk'"):
        backbone.encode_text(["cat"], long="fold")


def test_a_backbone_without_text_encoder_says_so_for_every_conditioning(make_backbone, tmp_path):
    backbone = make_backbone(text=False)
    calls = (caption_context, class_names_context, class_embs_context, averaged_eos_context)
    for call in (*(partial(call, backbone, ["cat"]) for call in calls), partial(empty_context, backbone)):
        with pytest.raises(ValueError, match="no text encoder: give it one, or bring contexts"):
            call()
    with pytest.raises(ValueError, match="no text encoder"):
        TextCache(tmp_path, backbone).build("class-names", class_names=["cat"])


def test_class_names_of_many_classes_are_chunked_when_asked(backbone):
    names = ["cat", "dog"] * 50
    chunked = class_names_context(backbone, names, long="chunk")
    assert chunked.shape == (1, 154, 64)
    assert_close(chunked[:, :77], last_hidden(backbone, " ".join(names[:75])))
    assert_close(chunked[:, 77:], last_hidden(backbone, " ".join(names[75:])))


def test_a_token_that_was_never_loaded_is_refused(backbone, tmp_path):
    with pytest.raises(ValueError, match=r"unknown token '<night>' in 'a <night> cat': load it first"):
        backbone.encode_text(["a cat", "a <night> cat"])
    save_file({"<night>": torch.randn(2, 64)}, tmp_path / "learned_embeds.safetensors")
    backbone.load_tokens(tmp_path)
    backbone.encode_text(["a <night> cat", "5 < 7 > 3", "<3"])


def test_conditionings_by_their_definitions(backbone):
    names = ["cat", "xyz"]
    assert_close(build_context(backbone, "class-names", class_names=names), last_hidden(backbone, "cat xyz"))
    assert_close(build_context(backbone, "empty"), last_hidden(backbone, ""))
    words = torch.cat((last_hidden(backbone, "cat")[:, 1:2], last_hidden(backbone, "xyz")[:, 1:4]), 1)
    assert_close(build_context(backbone, "class-embs", class_names=names), words)
    captions = ["a cat", "a dog"]
    joined = build_context(backbone, "class-embs+caption", captions=captions, class_names=names)
    assert_close(joined, torch.cat((words.expand(2, -1, -1), backbone.encode_text(captions)), 1))


def test_averaged_eos_is_the_mean_of_pooled_outputs_over_80_templates(backbone):
    assert len(set(clip_templates())) == 80
    assert all(template.count("{}") == 1 for template in clip_templates())
    got = build_context(backbone, "averaged-eos", class_names=["cat", "dog"])
    for i, name in enumerate(("cat", "dog")):
        texts = [template.replace("{}", name) for template in clip_templates()]
        ids = backbone.tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
        assert_close(got[0, i], backbone.text_encoder(ids).pooler_output.mean(0))


def test_wrong_conditionings_are_refused(backbone):
    for call, message in [
        (
            lambda: build_context(backbone, "captions", captions=["a"]),
            "unknown conditioning 'captions'; choose from caption,",
        ),
        (lambda: build_context(backbone, "caption+empty"), "'caption' needs captions"),
        (lambda: build_context(backbone, "class-embs", captions=["a"]), "'class-embs' needs class_names"),
        (lambda: concatenate(torch.zeros(2, 3, 4), torch.zeros(3, 3, 4)), "do not join"),
    ]:
        with pytest.raises(ValueError, match=message):
            call()


def test_the_cache_runs_the_encoder_once_a_caption_and_notices_new_weights(backbone, tmp_path):
    runs = []
    backbone.text_encoder.register_forward_hook(lambda *_: runs.append(1))
    cache = TextCache(tmp_path, backbone)
    first = cache.build("caption+class-embs", captions=["a cat", "a dog", "a cat"], class_names=["cat"])
    assert len(runs) == 3
    again = TextCache(tmp_path, backbone).build("caption+class-embs", captions=["a dog", "a cat"], class_names=["cat"])
    assert len(runs) == 3
    assert torch.equal(first[:2].flip(0), again)
    assert_close(again, build_context(backbone, "caption+class-embs", captions=["a dog", "a cat"], class_names=["cat"]))
    with torch.no_grad():
        backbone.text_encoder.get_input_embeddings().weight[5] += 1
    runs.clear()
    cache.build("caption", captions=["a cat"])
    assert len(runs) == 1


def test_the_cache_notices_another_padding_length_and_activation(backbone, tmp_path):
    """Stable Diffusion 2 pads the same vocabulary with another token, by what its tokenizer was read from."""
    seen = [TextCache(tmp_path, backbone).fingerprint()]
    backbone.tokenizer.pad_token = backbone.tokenizer.convert_ids_to_tokens(0)
    seen.append(TextCache(tmp_path, backbone).fingerprint())
    backbone.tokenizer.model_max_length -= 1
    seen.append(TextCache(tmp_path, backbone).fingerprint())
    backbone.text_encoder.config.hidden_act = "relu"
    seen.append(TextCache(tmp_path, backbone).fingerprint())
    assert len(set(seen)) == len(seen)


def test_the_cache_notices_other_templates(backbone, tmp_path, monkeypatch):
    cache = TextCache(tmp_path, backbone)
    whole = cache.build("averaged-eos", class_names=["cat"])
    caption = cache.build("caption", captions=["a cat"])
    for module in ("cache", "conditioning"):
        monkeypatch.setattr(f"tadp_backbone.text.{module}.clip_templates", lambda: ("a sketch of a {}.", "a {}."))
    runs = []
    backbone.text_encoder.register_forward_hook(lambda *_: runs.append(1))
    two = cache.build("averaged-eos", class_names=["cat"])
    assert len(runs) == 1
    assert not torch.allclose(two, whole)
    assert_close(two, build_context(backbone, "averaged-eos", class_names=["cat"]))
    runs.clear()
    assert torch.equal(cache.build("caption", captions=["a cat"]), caption)
    assert runs == [], "templates are none of a caption's business"


def test_words_merge_their_tokens(backbone, tmp_path):
    save_file({"<look>": torch.randn(2, 64)}, tmp_path / "learned_embeds.safetensors")
    backbone.load_tokens(tmp_path)
    words = words_of(backbone.tokenizer, "a <look> photo of xyz, two cats")
    assert [(word.text, word.indices) for word in words] == [
        ("a", (1,)), ("<look>", (2, 3)), ("photo", (4,)), ("of", (5, 6)), ("xyz", (7, 8, 9)), (",", (10,)),
        ("two", (11, 12, 13)), ("cats", (14, 15, 16)),
    ]  # fmt: skip


def test_a_word_is_found_or_the_prompts_words_are_named(backbone):
    prompt = "a dog and a photo cat"
    assert find_word(backbone.tokenizer, prompt, "photo cat") == Word("photo cat", (7, 8))
    assert find_word(backbone.tokenizer, prompt, "Dog") == Word("Dog", (2,))
    with pytest.raises(ValueError, match=r"'cats' is not in the prompt.*its words are a, dog, and, a, photo, cat"):
        find_word(backbone.tokenizer, prompt, "cats")


def test_heat_maps_add_a_words_tokens_and_average_strides():
    fine = torch.rand(2, 4, 3, 5)
    features = Features((), {4: fine, 8: torch.full((2, 4, 2, 3), 0.25)}, (10, 17), (6, 15))
    maps = heat_maps(features, [Word("x", (1, 3)), Word("y", (2,))], image=1)
    assert maps.shape == (2, 10, 17)
    pixels = torch.nn.functional.interpolate(fine[1:, 2:3], scale_factor=4, mode="bilinear")[0, 0, :10, :17]
    assert_close(maps[1], (pixels + 0.25) / 2)
    one_by_one = heat_maps(features, [Word("a", (1,)), Word("b", (3,))], image=1)
    assert_close(maps[0], one_by_one.sum(0))
    with pytest.raises(ValueError, match=r"'x' is token 4, the context has 4 tokens"):
        heat_maps(features, [Word("x", (4,))])
    with pytest.raises(ValueError, match="no attention maps"):
        heat_maps(Features((), {}, (8, 8), (0, 0)), [])
