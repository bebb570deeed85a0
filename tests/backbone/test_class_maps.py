"""Maps by class: the tokens that name a class, wherever they stand, in that class's channel."""

import pytest
import torch

from tadp_backbone import BackboneConfig, DiffusionBackbone
from tadp_backbone.class_maps import class_tokens
from tadp_backbone.registry import BACKBONES
from tadp_backbone.text.word_attention import words_of

pytestmark = pytest.mark.numerical

WORDS = (("circle", "circles"), ("tree", "trees"), ("red star",), ("star",))


@pytest.fixture(scope="module")
def backbone():
    return DiffusionBackbone.from_pretrained("tiny", class_words=WORDS).freeze()


def test_tokens_of_names_plurals_and_phrases(backbone):
    text = "two Circles, a tree and a red-star"
    (named,) = class_tokens(backbone.tokenizer, [text], WORDS, 77)
    where = {word.text.lower(): list(word.indices) for word in words_of(backbone.tokenizer, text)}
    for label, names in enumerate((("circles",), ("tree",), ("red", "star"), ())):
        expected = sorted(index for name in names for index in where[name])
        assert named[:, label].nonzero().flatten().tolist() == expected
    assert class_tokens(backbone.tokenizer, [""], WORDS, 77).sum() == 0
    assert class_tokens(backbone.tokenizer, ["a tree"], (), 77).shape == (1, 77, 0)


def test_levels_have_a_map_a_class_which_a_prefix_does_not_shift(backbone):
    images = torch.rand(2, 3, 64, 48) * 2 - 1
    with torch.no_grad():
        plain = backbone(images, backbone.encode_text(["tree and circle", "star"]))
    assert [tuple(level.shape[1:2]) for level in plain.levels] == [(level.channels,) for level in backbone.levels]
    for stride, maps in plain.attention.items():
        index = [level.stride for level in backbone.levels].index(stride)
        channels = plain.levels[index][:, -len(WORDS) :]
        tree, circle = (
            next(w for w in words_of(backbone.tokenizer, "tree and circle") if w.text == name)
            for name in ("tree", "circle")
        )
        torch.testing.assert_close(channels[0, 0], maps[0, list(circle.indices)].sum(0))
        torch.testing.assert_close(channels[0, 1], maps[0, list(tree.indices)].sum(0))
        assert channels[0, 2:].abs().max() == 0, "not named"
        assert channels[1, :3].abs().max() == 0
        assert channels[1, 3].max() > 0


def test_the_unet_gets_the_context_alone(backbone):
    images = torch.rand(1, 3, 64, 64) * 2 - 1
    other = DiffusionBackbone.from_pretrained("tiny").freeze()
    with torch.no_grad():
        by_class = backbone(images, backbone.encode_text(["a tree"]))
        by_token = other(images, other.encode_text(["a tree"]))
    for stride, maps in by_token.attention.items():
        torch.testing.assert_close(maps, by_class.attention[stride])
    width = BACKBONES["tiny"].levels[0][0]
    torch.testing.assert_close(by_token.levels[0][:, :width], by_class.levels[0][:, :width], atol=1e-4, rtol=1e-4)


def test_words_are_kept_with_the_weights_and_wrong_contexts_are_refused(backbone, tmp_path):
    backbone.save_pretrained(tmp_path / "saved")
    again = DiffusionBackbone.from_pretrained(tmp_path / "saved")
    assert again.config.class_words == WORDS
    assert again.levels == backbone.levels
    with pytest.raises(ValueError, match=r"context is \(1, 77, 96\), expected .*, tokens, 100\)"):
        backbone(torch.zeros(1, 3, 64, 64), torch.zeros(1, 77, 96))
    with pytest.raises(ValueError, match="long='chunk' with class_words"):
        backbone.encode_text(["a tree"], long="chunk")


def test_presence_input_says_what_is_named_but_not_where():
    output = DiffusionBackbone.from_pretrained("tiny", class_words=WORDS, class_input="presence").freeze()
    context = output.encode_text(["two trees and a star", ""])
    context[1, 0, -2] = 0.25  # a probability, put where no word stands
    with torch.no_grad():
        features = output(torch.rand(2, 3, 64, 64) * 2 - 1, context)
    shown = [f for f, level in zip(features.levels, output.levels, strict=True) if level.stride in features.attention]
    assert shown
    for level in shown:
        channels = level[:, -len(WORDS) :].flatten(2)
        expected = torch.tensor([[0, 1, 0, 1], [0, 0, 0.25, 0]])[..., None]
        assert torch.equal(channels, expected.expand_as(channels))
    assert [level.shape[1] for level in features.levels] == [level.channels for level in output.levels]


def test_presence_input_needs_class_words():
    with pytest.raises(ValueError, match="class_input 'presence' needs class_words"):
        BackboneConfig(class_input="presence")
    with pytest.raises(ValueError, match="class_input is 'vector', expected 'maps' or 'presence'"):
        BackboneConfig(class_input="vector")
