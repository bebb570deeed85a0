"""The part-of-speech tagger that the captioning package ships: taught by NLTK's own, on sentences of ours."""

import gzip
import json
import random
from pathlib import Path

from nltk.tag import PerceptronTagger

from pretrain.sentences import sentence
from tadp_captioning.prompts.nouns import nltk_tagger
from tadp_heads.atomic_files import replacing

SENTENCES = 12_000
_SMALLEST = 0.3  # smaller weights are left out; agreement with NLTK's tagger stays within 0.2 %
_OF_NAMES, _OF_VERBS = ("NN", "NNS", "NNP", "NNPS", "JJ"), ("VBG", "VBN", "VBZ", "VBD", "VBP", "VB")
_TAGS = frozenset((*_OF_NAMES, *_OF_VERBS, "DT", "IN", "CC", "CD", "PRP$", "TO", "RB", "RP"))
"""Distinguished, since the next tag depends on them; all others are one."""


def train_tagger(seed: int) -> PerceptronTagger:
    """A perceptron of NLTK's class that tags as NLTK's does; needs the data of NLTK's tagger."""
    rng, teacher = random.Random(seed), nltk_tagger()
    tagged = [[(word, tag if tag in _TAGS else "X") for word, tag in teacher(sentence(rng))] for _ in range(SENTENCES)]
    random.seed(seed)  # NLTK shuffles by the global generator
    tagger = PerceptronTagger(load=False)
    tagger.train(tagged, nr_iter=5)
    return tagger


def export_tagger(tagger: PerceptronTagger, file: Path) -> None:
    """Gzipped JSON: weights, words of one tag, tags."""
    weights = {}
    for feature, of_tags in sorted(tagger.model.weights.items()):
        kept = {tag: round(weight, 1) for tag, weight in sorted(of_tags.items()) if abs(weight) >= _SMALLEST}
        if kept:
            weights[feature] = kept
    content = json.dumps([weights, dict(sorted(tagger.tagdict.items())), sorted(tagger.classes)])
    with replacing(file) as partial:
        partial.write_bytes(gzip.compress(content.encode(), mtime=0))
