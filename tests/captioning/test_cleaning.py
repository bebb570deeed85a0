import re
import time

import pytest

from tadp_captioning import DOMAINS, CaptionRecord, CaptionStore, RuleCleaner, clean_store, domain_from_phrase

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
        ("fog", "a car in thick fog", "a car"),
        ("rain", "a rainy street with a car in the heavy rain", "a street with a car"),
        ("rain", "a man in a raincoat on a rainy day", "a man in a raincoat"),
        ("snow", "a snowy road with a snowplow in the snow", "a road with a snowplow"),
        ("snow", "a street covered in snow", "a street"),
        ("dashcam", "a dashcam photo of a road", "a photo of a road"),
        (None, "a night photo of a drop in a comic", "a drop"),
    ],
)
def test_the_style_goes_and_the_content_stays(domain, caption, expected):
    assert RuleCleaner(domain).clean([caption]).captions == [expected]


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("a sketchbook with a map", "a map"),
        ("a comic strip with a story about a girl", "a story about a girl"),
        ("a comic strip with a car driving on the road", "a car driving on the road"),
        ("a comic book with pictures of people and a man sitting on a chair", "people and a man sitting on a chair"),
        ("a page from the comic book, showing a man in a car", "a man in a car"),
        ("- page from a comic book with a man in a suit", "a man in a suit"),
        ("18. Page from comic book with man and woman", "18. man and woman"),
        ("the manga page shows a scene of a car", "a scene of a car"),
        ("four comic panels depicting a woman in a boat", "a woman in a boat"),
        ("a cartoon about the importance of education", "the importance of education"),
        ("comic strip about a police car and a woman", "a police car and a woman"),
        ("a page with a drawing of a zombie", "a zombie"),
        ("two pictures of a girl and a drawing of a boy", "a girl and a boy"),
        ("this is a watercolor and ink drawing of a cat", "a cat"),
        ("the image is a cartoon of a dog", "a dog"),
        ("A drawing of a family looking at a washing machine.", "a family looking at a washing machine."),
        ("a cartoon wedding", "a wedding"),
        ("a poster with a cartoon girl talking to a man", "a poster with a girl talking to a man"),
        ("the drawing board comic strip", "the drawing board"),
        ("doctor who girls comic book cover", "doctor who girls"),
        ("Batman and the Joker in a comic page", "Batman and the Joker"),
        ("Tutorial on drawing cartoon girl", "Tutorial on drawing girl"),
    ],
)
def test_what_a_medium_shows_stays_without_the_medium(caption, expected):
    """Of the published captions of Comic2k, 25 of 1000 had lost a noun: "a with a car driving on the road"."""
    assert RuleCleaner("comic").clean([caption]).captions == [expected]


@pytest.mark.parametrize(
    ("domain", "caption"),
    [
        ("comic", "a cartoon on the tv screen"),
        ("comic", "a painting hanging on the wall"),
        ("comic", "different drawings on paper"),
        ("comic", "a drawing by JasonB"),
        ("comic", "Spanish political cartoon"),
        ("comic", "the page from the comic book is shown"),
        ("comic", "a page with black and white illustrations"),
        ("comic", "a comic book store with a man"),
        ("comic", "a boy reading a comic book"),
        ("comic", "a stack of comic books on a table"),
        ("comic", 'a sign with the words "30 Days Drawing Challenge"'),
        ("watercolor", "a watercolor set on a desk"),
        ("watercolor", "a drawing board and a ruler"),
        ("watercolor", "a woman holding a painting"),
        ("watercolor", "a person holding a painting of a bird"),
        ("watercolor", "a woman looking at a watercolor painting"),
        ("watercolor", "a hand holding a pen and a drawing"),
        ("watercolor", "a room with a chair and a painting on the wall"),
        ("watercolor", "a girl with face painting"),
        ("watercolor", "children painting eggs"),
        ("watercolor", "a girl drawing"),
        ("night", "a night stand next to a bed"),
        ("night", "a night club with people"),
        ("night", "a man in dark clothes"),
        ("night", "a car in the dark blue garage"),
        ("dashcam", "a red box on the dashboard"),
        ("neon", "a neon sign on a wall"),
        (None, "a red box on the dashboard of a car"),
    ],
)
def test_objects_of_the_scene_stay(domain, caption):
    """A medium in a place, held or seen, and one in the name of another object, are content."""
    assert RuleCleaner(domain).clean([caption]).captions == [caption]


def test_a_setting_before_a_noun_qualifies_it():
    assert RuleCleaner("night").clean_one("a moon in the night sky") == "a moon in the sky"


@pytest.mark.parametrize("domain", [None, *DOMAINS])
@pytest.mark.parametrize(
    "caption",
    [
        "a red circle and a small tree on a blue ground",
        "a bird on paper",
        "a man with red paint on his face",
        "a knight with a unicorn and an hour glass",
        "a woman holding a picture frame",
        "an dog and a owl",  # a captioner's mistake is not corrected
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


def test_watercolor2k_keeps_style_words_only_of_what_is_seen_or_made(shared_data):
    store = CaptionStore.read(shared_data / "captions" / "watercolor_captions.json")
    before = sum(bool(STYLE.search(store[i])) for i in store)
    cleaned, report = clean_store(store, RuleCleaner("watercolor"))
    left = [cleaned[i] for i in cleaned if STYLE.search(cleaned[i])]
    assert before > 250, "the published captions are only partly clean"
    assert len(left) < 0.015 * len(store), left
    assert report.residual < 0.015 * len(store)
    assert not [text for text in left if re.match(rf"(?:an? |two )?(?:{STYLE.pattern})s? (?:of|with)", text)]
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


@pytest.mark.parametrize("text", ["watercolor ", "a watercolor painting of a dog, in the style of comic art, "])
def test_the_cost_of_a_caption_grows_with_its_length_alone(text):
    """It grew with the square or the cube: a line that is repeated took minutes."""
    start = time.process_time()
    RuleCleaner().clean([text * 600])
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("phrase", "caption", "cleaned"),
    [
        ("dusk photo", "a photo of a street at dusk with cars", "a photo of a street with cars"),
        ("dusk photo", "a dusk street with cars", "a street with cars"),
        ("dusk photo", "a painting on the wall", "a painting on the wall"),
        ("rain photo", "a man walking in the rain with an umbrella", "a man walking with an umbrella"),
        ("rain photo", "a city on a rainy night", "a city"),
        ("rain photo", "a girl in a raincoat", "a girl in a raincoat"),
        ("rainy photo", "a city in heavy rain", "a city"),
        ("snow photo", "a car covered in snow", "a car covered in snow"),
        ("x-ray image", "an x-ray of a hand", "a hand"),
        ("factory line photo", "bottles on a factory line", "bottles"),
        ("thermal photo", "a thermal image of a dog", "an image of a dog"),
        ("pencil sketch", "a pencil sketch of a boat", "a boat"),
    ],
)
def test_a_domain_in_words_is_removed_and_the_content_stays(phrase, caption, cleaned):
    """ "at dusk" left "at" behind: "a street at with cars"."""
    cleaner = RuleCleaner(domain_from_phrase(phrase))
    assert cleaner.clean_one(caption) == cleaned
    assert cleaner.clean_one(cleaned) == cleaned
