"""What a captioner thinks of while it writes."""

import pytest
import torch
from PIL import Image

from tadp_captioning import load_captioner
from tadp_captioning.mentions.words import ClassMentions
from tadp_captioning.taggers.word_probabilities import WordProbabilities

NAMES = ("circle", "hexagon", "square", "triangle", "tree", "house", "ring", "moon", "star", "flower", "heart", "drop")


@pytest.fixture(scope="module")
def captioner():
    return load_captioner("tiny", device="cpu", batch_size=2)


@pytest.fixture(scope="module")
def pictures():
    torch.manual_seed(0)
    return [Image.effect_mandelbrot((64, 64), (-2, -1.5, 1, 1.5), 20 + i).convert("RGB") for i in range(3)]


def test_every_class_that_a_caption_names_had_a_good_chance(captioner, pictures):
    found = WordProbabilities(captioner, NAMES).probabilities(pictures)
    assert found.shape == (3, len(NAMES))
    assert found.min() >= 0
    assert found.max() <= 1
    mentions = ClassMentions(NAMES)
    for row, text in zip(found, captioner.caption(pictures), strict=True):
        named = [NAMES.index(name) for name in mentions(text)]
        assert named
        # The likeliest of a whole vocabulary, at the place where it was written.
        assert row[named].min() > 0.05
        assert row.argmax().item() in named


def test_chances_are_those_of_the_model_word_by_word(captioner, pictures):
    names, processor, model = ("moon", "house"), captioner.processor, captioner.model
    inputs = processor(images=pictures[:1], return_tensors="pt")
    with torch.no_grad():
        written = model.generate(**inputs, max_new_tokens=77)
    begun = written[0].tolist().index(processor.tokenizer.bos_token_id) + 1
    expected = torch.zeros(len(names))
    for said in range(begun, written.shape[1]):
        with torch.no_grad():
            probabilities = model(**inputs, input_ids=written[:, :said]).logits[0, -1].softmax(-1)
        for k, name in enumerate(names):
            tokens = {processor.tokenizer(f" {w}", add_special_tokens=False).input_ids[0] for w in (name, f"{name}s")}
            expected[k] = max(expected[k], sum(probabilities[t] for t in tokens))
    found = WordProbabilities(captioner, names).probabilities(pictures[:1])[0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_server_does_not_tell():
    class Server:
        name = "openai:some"

    with pytest.raises(ValueError, match="captioner 'openai:some' runs on a server"):
        WordProbabilities(Server(), NAMES)
