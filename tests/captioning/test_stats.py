import json
from pathlib import Path

import pytest
from transformers import CLIPTokenizer

from tadp_captioning import CaptionRecord, CaptionStore, RuleCleaner
from tadp_captioning.mentions.words import ClassMentions, plurals
from tadp_captioning.stats import caption_stats, class_report, diff_stores, is_looping


def store_of(**captions: str) -> CaptionStore:
    return CaptionStore(CaptionRecord(id=image_id, caption=text) for image_id, text in captions.items())


@pytest.fixture(scope="module")
def clip_tokenizer(tmp_path_factory) -> CLIPTokenizer:
    """One token per letter: CLIP's classes without its vocabulary."""
    folder: Path = tmp_path_factory.mktemp("clip")
    letters = [chr(c) for c in range(33, 127)]
    words = [*letters, *(letter + "</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: i for i, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(folder)


def test_defects_are_counted_and_flagged(clip_tokenizer):
    store = store_of(
        good="a dog",
        twin="a dog",
        empty=" ",
        loop="a cat and a cat and a cat and a cat",
        long="x" * 80,
        style="a painting of a cow",
    )
    store.add(CaptionRecord(id="bad", caption="", extra={"error": "truncated"}))
    store.add(CaptionRecord(id="dash", caption="a fox", extra={"captions": ["- a fox"]}))
    store.add(CaptionRecord(id="two", caption="a hen", extra={"captions": ["a hen", "a hen"]}))
    stats = caption_stats(store, tokenizer=clip_tokenizer, cleaner=RuleCleaner("watercolor"))
    assert stats.count == 8
    assert stats.flagged == {
        "failed": ["bad"],
        "empty": ["empty"],
        "looping": ["loop"],
        "over-length": ["long"],
        "style": ["style"],
        "untidy": ["dash"],
    }
    assert stats.over_length == pytest.approx(1 / 8)
    assert stats.duplicates == 2
    assert stats.style_words == {"painting": 1}
    assert caption_stats(store).mean_tokens is None


def test_tokens_count_start_and_end(clip_tokenizer):
    assert caption_stats(store_of(x="abc"), tokenizer=clip_tokenizer).mean_tokens == 5


@pytest.mark.parametrize(
    ("caption", "looping"),
    [
        ("john lennon - john lennon - john lennon - john lennon", True),
        ("flower flower flower", True),
        ("a cat and a cat and a cat", False),
        ("a red car and a blue car", False),
        ("two two", False),
        ("", False),
    ],
)
def test_looping_is_a_phrase_three_times_in_a_row(caption, looping):
    assert is_looping(caption) is looping


def test_the_papers_debris_is_found(shared_data):
    store = CaptionStore.read(shared_data / "captions" / "watercolor_captions.json")
    stats = caption_stats(store, cleaner=RuleCleaner("watercolor"))
    assert stats.style_words["painting"] + stats.style_words["paintings"] == pytest.approx(119, abs=5)
    assert stats.flagged["looping"], "four times john lennon"
    assert stats.duplicates > 100
    raw = json.loads((shared_data / "captions" / "watercolor_captions.json").read_text())
    dashed = {image_id for image_id, entry in raw.items() if entry["captions"][0].startswith("- ")}
    assert len(dashed) == pytest.approx(200, abs=5)
    assert dashed <= set(stats.flagged["untidy"])


@pytest.mark.parametrize(
    ("caption", "classes"),
    [
        ("two men on bikes", ["bicycle", "person"]),
        ("a puppy beside potted plants", ["dog", "pottedplant"]),
        ("a doghouse and a scarf", []),
        ("geese and BUSES", ["bird", "bus"]),
    ],
)
def test_classes_are_found_by_name_plural_and_synonym(caption, classes):
    find = ClassMentions(["bicycle", "bird", "bus", "car", "dog", "person", "pottedplant"])
    assert find(caption) == classes


@pytest.mark.parametrize(
    ("noun", "many"), [("box", "boxes"), ("woman", "women"), ("berry", "berries"), ("toy", "toys")]
)
def test_plurals(noun, many):
    assert many in plurals(noun)


def test_precision_and_recall_of_classes():
    store = store_of(a="a dog and a cat", b="a cat", c="a street")
    present = {"a": ["dog"], "b": ["cat", "car"], "c": ["car"]}
    report = class_report(store, present, ["car", "cat", "dog", "cow"])
    assert report.overall == (2 / 3, 2 / 4)
    assert report.by_class == {"car": (None, 0.0), "cat": (0.5, 1.0), "dog": (1.0, 1.0)}


VOC = ["aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"]
VOC += ["dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"]


def test_captions_of_voc_name_the_labelled_class_mostly(shared_data):
    """Every caption file's class_label is one class that is in the image."""
    store = CaptionStore.read(shared_data / "captions" / "voc_val_captions.json")
    present = {record.id: [VOC[record.extra["class_label"] - 1]] for record in store.records()}
    assert class_report(store, present, VOC).overall.recall > 0.8


def test_differences_of_two_stores():
    diff = diff_stores(store_of(a="x", b="y", c="z"), store_of(b="y", c="w", d="v"))
    assert diff == ({"c": ("z", "w")}, ["a"], ["d"])
