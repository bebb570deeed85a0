import pytest
import torch
from torch import Tensor
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from tadp_captioning import CaptionRecord, CaptionStore
from tadp_captioning.mentions.cosine import CosineMentions, words_of
from tadp_captioning.stats import class_report

ANGLES = {"dog": 0.0, "puppy": 20.0, "wolf": 30.0, "cat": 90.0, "car": 180.0}  # degrees; cos 25.8 = 0.9


def on_a_circle(texts: list[str]) -> Tensor:
    """Of any length, to be normalised by who compares."""
    angles = torch.deg2rad(torch.tensor([ANGLES.get(text, 270.0) for text in texts]))
    return torch.stack([angles.cos(), angles.sin()], 1) * torch.arange(1, len(texts) + 1)[:, None]


@pytest.mark.parametrize(
    ("caption", "threshold", "classes"),
    [
        ("a puppy on a sofa", 0.9, ["dog"]),
        ("a wolf", 0.9, []),
        ("a wolf", 0.86, ["dog"]),
        ("A Cat, and a dog!", 0.9, ["cat", "dog"]),
        ("", 0.9, []),
    ],
)
def test_a_word_names_the_classes_that_are_near(caption, threshold, classes):
    assert CosineMentions(["cat", "dog", "car"], on_a_circle, threshold=threshold)(caption) == classes


def test_each_word_is_encoded_once_and_in_batches():
    asked = []

    def encode(texts):
        asked.append(list(texts))
        return on_a_circle(texts)

    mentions = CosineMentions(["dog"], encode)
    mentions.learn(["a dog and a cat", "the cat"], batch_size=2)
    assert mentions("the dog and the cat") == ["dog"]
    assert asked == [["dog"], ["a", "dog"], ["and", "cat"], ["the"]]


def test_against_the_plain_formula_with_clips_classes(tmp_path):
    """CLIPTextModel at toy size; the threshold's own side of every pair, one text at a time."""
    letters = [chr(c) for c in range(97, 123)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (tmp_path / "vocab.json").write_text(str({word: i for i, word in enumerate(words)}).replace("'", '"'))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n")
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(words),
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        eos_token_id=len(words) - 1,
    )
    model = CLIPTextModel(config).eval()

    def encode(texts: list[str]) -> Tensor:
        return model(**tokenizer(texts, padding=True, return_tensors="pt")).pooler_output

    classes, caption = ["dog", "bus", "boat"], "a dog in a boot beside the busy road"
    with torch.inference_mode():
        cosines = {
            name: max(torch.cosine_similarity(encode([name]), encode([word])).item() for word in words_of(caption))
            for name in classes
        }
    for threshold in (0.5, 0.9, 0.97, 0.999):
        expected = [name for name in classes if cosines[name] >= threshold]
        assert CosineMentions(classes, encode, threshold=threshold)(caption) == expected
    assert cosines["dog"] > 0.999 > cosines["bus"]


def test_recall_rises_where_synonyms_are_near():
    store = CaptionStore([CaptionRecord(id="a", caption="a puppy"), CaptionRecord(id="b", caption="a car and a cat")])
    present = {"a": ["dog"], "b": ["car"]}
    report = class_report(
        store, present, ["dog", "car", "cat"], mentions=CosineMentions(["dog", "car", "cat"], on_a_circle)
    )
    assert report.overall == (2 / 3, 1.0)
    assert report.by_image == {"a": (1.0, 1.0), "b": (0.5, 1.0)}
    assert report.images == {"dog": 1, "car": 1}
