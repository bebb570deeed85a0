"""The shipped tagger's training: sentences of the grammar, NLTK's class, a file that the package reads."""

import random

from nltk.tag import PerceptronTagger

from pretrain.sentences import sentence
from pretrain.tagger import export_tagger
from tadp_captioning.prompts import nouns


def test_sentences_are_a_seeds_and_read_like_captions():
    first, again, other = (
        [sentence(rng) for _ in range(50)] for rng in (random.Random(0), random.Random(0), random.Random(1))
    )
    assert first == again != other
    assert all(words and all(word == word.lower() for word in words) for words in first)
    assert {"a", "on", "and", "is"} <= {word for words in first for word in words}


def test_what_is_exported_tags_as_before(tmp_path, monkeypatch):
    tagger = PerceptronTagger(load=False)
    random.seed(0)
    tagger.train([[("a", "DT"), ("red", "JJ"), (noun, "NN"), ("runs", "VBZ")] for noun in ("dog", "cat", "man")] * 10)
    export_tagger(tagger, tmp_path / "weights" / nouns.TAGGER_FILE)
    monkeypatch.setattr(nouns, "WEIGHTS", tmp_path / "weights")
    nouns.shipped_tagger.cache_clear()
    try:
        assert nouns.nouns_prompt("a red dog runs", nouns.shipped_tagger()) == "dog"
        assert nouns.shipped_tagger()(["a", "red", "bear"]) == tagger.tag(["a", "red", "bear"])
    finally:
        nouns.shipped_tagger.cache_clear()
