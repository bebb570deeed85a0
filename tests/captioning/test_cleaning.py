import re

import pytest

from tadp_captioning import DOMAINS, CaptionRecord, CaptionStore, RuleCleaner, clean_store

# Independent of the lexicon: what a reader would call a style word in a Watercolor2k caption.
STYLE = re.compile(
    r"watercolou?r|painting|drawing|sketch|illustration|depiction|portrait|cartoon|comic|rendering", re.I
)


@pytest.mark.parametrize(
    ("domain", "caption", "expected"),
    [
        ("watercolor", "a watercolor painting of a dog", "a dog"),
        ("watercolor", "a watercolor painting of a ring and a moon", "a ring and a moon"),
        ("watercolor", "- watercolor sketch of a cable car in the mountains", "a cable car in the mountains"),
        ("watercolor", "a woman's face shown in a watercolor effect", "a woman's face"),
        ("watercolor", "two men in suits and ties are shown in watercolor", "two men in suits and ties"),
        ("watercolor", "three watercolor paintings of nude women", "nude women"),
        ("watercolor", "a painting of a woman and child with watercolor", "a woman and child"),
        ("watercolor", "a black and white drawing of a bicycle", "a bicycle"),
        ("watercolor", "an image of a girl holding a bird", "a girl holding a bird"),
        ("watercolor", "a watercolor owl and a cat", "an owl and a cat"),
        ("comic", "a comic drawing of a star and a moon", "a star and a moon"),
        ("comic", "a comic drawing of two stars", "two stars"),
        ("comic", "a comic book style illustration of a man", "a man"),
        ("comic", "a cartoon elephant", "an elephant"),
        ("night", "a photo of a tree at night", "a photo of a tree"),
        ("night", "a photo of a house at night", "a photo of a house"),
        ("night", "a night photo of a drop", "a photo of a drop"),
        ("night", "a dark night photo of an owl", "a photo of an owl"),
        ("night", "a car at night on a street", "a car on a street"),
        ("dark-zurich", "a city street at night", "a city street"),
        ("foggy", "a tree in the fog", "a tree"),
        ("foggy", "a foggy street", "a street"),
        ("dashcam", "a dashcam photo of a road", "a photo of a road"),
        (None, "a night photo of a drop in a comic", "a drop"),
    ],
)
def test_the_look_goes_and_the_content_stays(domain, caption, expected):
    assert RuleCleaner(domain).clean([caption]).captions == [expected]


@pytest.mark.parametrize("domain", [None, *DOMAINS])
@pytest.mark.parametrize(
    "caption",
    [
        "a red circle and a small tree on a blue ground",
        "a bird on paper",
        "a man with red paint on his face",
        "a knight with a unicorn and an hour glass",
        "a woman holding a picture frame",
        "an dog and a owl",  # a captioner's slip is not ours to mend
        "",
    ],
)
def test_captions_without_style_words_stay_as_they_are(domain, caption):
    assert RuleCleaner(domain).clean([caption]).captions == [caption]


@pytest.mark.parametrize("caption", ["a watercolor painting", "comic", "a sketch", "at night", "a night photo"])
@pytest.mark.parametrize("domain", [None, "watercolor", "night"])
def test_no_caption_is_emptied(domain, caption):
    (cleaned,) = RuleCleaner(domain).clean([caption]).captions
    assert cleaned.strip(" a")


@pytest.mark.parametrize("caption", ["a person painting a bird on paper", "a woman drawing a cat"])
def test_what_somebody_does_is_content(caption):
    assert RuleCleaner("watercolor").clean_one(caption) == caption


def test_the_report_counts_changes_and_residues():
    cleaned = RuleCleaner("watercolor").clean(["- a dog", "a drawing of a cat", "a person painting a bird"])
    assert cleaned.changed == 1, "a dropped list dash is no change"
    assert cleaned.residual == 1
    assert cleaned.residues == {"painting": 1}


def test_watercolor2k_keeps_less_than_one_percent_of_style_words(shared_data):
    store = CaptionStore.read(shared_data / "captions" / "watercolor_captions.json")
    before = sum(bool(STYLE.search(store[i])) for i in store)
    cleaned, report = clean_store(store, RuleCleaner("watercolor"))
    left = [cleaned[i] for i in cleaned if STYLE.search(cleaned[i])]
    assert before > 250, "the published captions are only partly clean"
    assert len(left) < 0.01 * len(store), left
    assert report.residual < 0.01 * len(store)
    assert len(cleaned) == len(store) == 1000
    assert all(cleaned[i] for i in cleaned)
    untouched = [
        i for i in store if not STYLE.search(store[i]) and not re.search(r"\bimages? of|\bart\b|print", store[i])
    ]
    assert [cleaned[i] for i in untouched] == [store[i] for i in untouched]
    assert {i: r.extra.get("class_label") for i, r in zip(cleaned, cleaned.records(), strict=True)} == {
        i: r.extra.get("class_label") for i, r in zip(store, store.records(), strict=True)
    }


def test_cleaning_twice_changes_nothing_more(shared_data):
    store = CaptionStore.read(shared_data / "captions" / "watercolor_captions.json")
    once, _ = clean_store(store, RuleCleaner("watercolor"))
    _, report = clean_store(once, RuleCleaner("watercolor"))
    assert report.changed <= 5


def test_failed_images_pass_through():
    store = CaptionStore([CaptionRecord(id="bad", caption="", extra={"error": "truncated"})])
    cleaned, report = clean_store(store, RuleCleaner("comic"))
    assert list(cleaned.records()) == list(store.records())
    assert report.changed == 0
