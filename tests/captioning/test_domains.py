import re

import pytest

from tadp_captioning import DOMAINS, MODIFIERS, get_domain, modify
from tadp_captioning.domains import domain_from_phrase

CAPTIONS = [
    "a dog and a bird",
    "an owl",
    "two stars",
    "people on the beach",
    "dog with a hat",
    "A man in a boat.",
    "- the logo of a firm",
    "a photo of a tree",
    "an image of an umbrella",
    "There are three cats",
]
ALL_DOMAINS = [*DOMAINS.values(), domain_from_phrase("oil painting"), domain_from_phrase("x-ray")]


@pytest.mark.parametrize("domain", ALL_DOMAINS, ids=lambda domain: domain.name)
@pytest.mark.parametrize("modifier", MODIFIERS)
@pytest.mark.parametrize("caption", CAPTIONS)
def test_modified_captions_are_grammatical(domain, modifier, caption):
    text = modify(caption, domain, modifier)
    if modifier == "null":
        assert text == caption
        return
    assert not re.search(r"\b(an?|the) (an?|the)\b", text), "no doubled article"
    assert not re.search(r"\ba (?:[aeiou]|x-)|\ban (?!x-)[^aeiou<]", text), "an before vowels and x-, else a"
    assert len(re.findall(r"\b(?:photo|image|picture|painting|drawing) of\b", text)) <= 1, "one medium"
    assert "{" not in text
    assert text == " ".join(text.split())
    assert not text.endswith(".")
    content = {"dog", "bird", "owl", "stars", "people", "man", "logo", "tree", "umbrella", "cats"}
    assert content & set(caption.strip(".").split()) <= set(text.split())


@pytest.mark.parametrize(
    ("domain", "modifier", "expected"),
    [  # the paper's section 4.2 and its ablation, word for word
        ("watercolor", "simple", "a watercolor style painting of a dog and a bird"),
        ("comic", "simple", "a comic style painting of a dog and a bird"),
        ("dark-zurich", "simple", "a dark night photo of a dog and a bird"),
        ("watercolor", "textual-inversion", "a <watercolor> style painting of a dog and a bird"),
        ("comic", "dreambooth", "a sks style painting of a dog and a bird"),
        ("night", "textual-inversion", "a dark <night> photo of a dog and a bird"),
        ("watercolor", "nearby", "a constructivism painting of a dog and a bird"),
        ("comic", "unrelated", "a dashcam photo of a dog and a bird"),
        ("night", "nearby", "a foggy photo of a dog and a bird"),
        ("night", "unrelated", "a watercolor painting of a dog and a bird"),
    ],
)
def test_the_papers_examples(domain, modifier, expected):
    assert modify("a dog and a bird", domain, modifier) == expected


@pytest.mark.parametrize(
    ("domain", "modifier", "expected"),
    [  # docs/reference.md, section 6
        ("night", "simple", "a dark night photo of a a dog"),
        ("night", "textual-inversion", "a dark <night> photo of a a dog"),
        ("night", "dreambooth", "a dashcam photo of a dog at sks night"),
        ("watercolor", "simple", "a watercolor painting of a a dog"),
        ("watercolor", "textual-inversion", "a <watercolor> style painting of a a dog"),
        ("comic", "dreambooth", "a sks style painting of a a dog"),
        ("comic", "simple", "a comic style painting of a a dog"),
    ],
)
def test_the_reference_codes_literal_strings(domain, modifier, expected):
    assert modify("a dog", domain, modifier, style="reference") == expected


def test_own_token_and_empty_caption():
    assert modify("a cat", "watercolor", "textual-inversion", token="<w2k>") == "a <w2k> style painting of a cat"
    assert modify("a cat", "comic", "dreambooth", token="zwx") == "a zwx style painting of a cat"
    assert modify("", "watercolor", "simple") == "a watercolor style painting"
    assert modify("a cat", domain_from_phrase("oil painting"), "simple") == "an oil painting of a cat"
    assert modify("a hand", domain_from_phrase("x-ray image"), "simple") == "an x-ray image of a hand"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a dog", "gouache", "simple"), "unknown domain 'gouache'; choose from watercolor"),
        (("a dog", "comic", "double"), "unknown modifier 'double'; choose from null, simple"),
    ],
)
def test_unknown_names_are_refused_with_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        modify(*arguments)


def test_what_the_reference_lacks_is_refused():
    with pytest.raises(ValueError, match="no string for modifier 'simple' of domain 'foggy'"):
        modify("a dog", "foggy", "simple", style="reference")
    with pytest.raises(ValueError, match="choose from grammatical, reference"):
        modify("a dog", "foggy", "simple", style="poetic")
    assert get_domain("night").token == get_domain("dark-zurich").token == "<night>"


def test_a_domain_of_any_name_is_described_in_words():
    dusk = get_domain("dusk", "dusk photo")
    assert (dusk.name, dusk.token, dusk.initial) == ("dusk", "<dusk>", ("dusk",))
    assert modify("A photo of a street.", dusk, "simple") == "a dusk photo of a street"
    assert modify("a street", dusk, "textual-inversion") == "a <dusk> photo of a street"
    assert get_domain(dusk) is dusk
    with pytest.raises(
        ValueError, match=r"unknown domain 'dusk'; choose from .* --domain-phrase .* e\.g\. 'dusk photo'"
    ):
        get_domain("dusk")
    with pytest.raises(ValueError, match="domain 'night' is in the table: leave its phrase 'night photo' out"):
        get_domain("night", "night photo")
    with pytest.raises(ValueError, match=r"domain '\.\./x': expected a name of letters"):
        get_domain("../x", "dusk photo")


@pytest.mark.parametrize(("phrase", "word"), [("photo in the rain", "in"), ("a dusk photo", "a")])
def test_a_phrase_that_fits_into_no_sentence_is_refused(phrase, word):
    """It made prompts such as "a photo in the rain of a street in the rain"."""
    with pytest.raises(ValueError, match=rf"has the word '{word}': expected the style, then the medium"):
        domain_from_phrase(phrase)
