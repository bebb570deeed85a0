import logging
import os
from pathlib import Path

import pytest

from tadp_captioning import CaptionStore
from tadp_captioning.prompts.nouns import load_tagger, nltk_tagger, nouns_prompt, shipped_tagger

TAGGER = "taggers/averaged_perceptron_tagger_eng"


@pytest.fixture(scope="session")
def perceptron(repository):
    """NLTK's tagger, if its data lies where NLTK_DATA says or with the other test data."""
    import nltk

    folders = [Path(os.environ.get("NLTK_DATA", "")), repository.parent / "shared" / "nltk_data"]
    folder = next((f for f in folders if (f / TAGGER).is_dir()), None)
    if folder is None:
        pytest.skip("NLTK's tagger data is not here")
    nltk.data.path.insert(0, str(folder))
    yield nltk_tagger()
    nltk.data.path.remove(str(folder))


def test_nouns_each_once_in_order(perceptron):
    caption = "a man and a dog sitting on a bench with another dog near two trees"
    assert nouns_prompt(caption, perceptron) == "man dog bench trees"
    assert nouns_prompt("", perceptron) == ""


def test_the_shipped_tagger_agrees_with_nltk_on_real_captions(perceptron, shared_data):
    store = CaptionStore.read(shared_data / "captions" / "voc_val_captions.json")
    both = missed = extra = 0
    for image_id in store:
        theirs = set(nouns_prompt(store[image_id], perceptron).split())
        ours = set(nouns_prompt(store[image_id], shipped_tagger()).split())
        both, missed, extra = both + len(theirs & ours), missed + len(theirs - ours), extra + len(ours - theirs)
    assert both / (both + missed) > 0.96
    assert both / (both + extra) > 0.96


@pytest.mark.parametrize(
    ("caption", "words"),
    [
        ("a café with a piñata on a table", {"café", "piñata", "table"}),
        ("a cafe\u0301 with a pin\u0303ata", {"café", "piñata"}),
        ("a jalapeño and a crème brûlée", {"jalapeño", "brûlée"}),
        ("zwei Bäume und eine Straße", {"Straße"}),
        ("a dog’s bowl", {"dog", "bowl"}),
        ("собака на траве", set()),
    ],
)
def test_words_of_any_alphabet_stay_whole(caption, words):
    found = set(nouns_prompt(caption, shipped_tagger()).split())
    assert words <= found
    assert found <= words | {"crème", "zwei", "und", "eine", *caption.replace("’", " ").split()} - {"s"}


@pytest.fixture(autouse=True)
def fresh_tagger():
    load_tagger.cache_clear()
    yield
    load_tagger.cache_clear()


@pytest.mark.parametrize("variable", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_nothing_is_looked_for_on_the_network(monkeypatch, tmp_path, caplog, variable):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.setattr("tadp_captioning.prompts.nouns.urlopen", lambda *_, **__: pytest.fail("asked the network"))
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, "1")
    assert load_tagger() is load_tagger()
    assert len(caplog.records) == 1, "said once per process"


def test_without_data_and_network_the_shipped_tagger_takes_over_and_it_is_said(monkeypatch, tmp_path, caplog, capfd):
    import nltk

    monkeypatch.setattr(nltk.data, "path", [str(tmp_path)])
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(nltk.downloader._downloader, "_url", "http://127.0.0.1:9/index.xml")  # nothing listens there
    with pytest.raises(ValueError, match=r"nltk\.downloader averaged_perceptron_tagger_eng"):
        nltk_tagger()
    with caplog.at_level(logging.WARNING):
        tagger = load_tagger()
    assert "the small tagger that comes with" in caplog.text
    assert len(caplog.records) == 1
    assert "".join(capfd.readouterr()) == "", "one line is said, by us"
    assert nouns_prompt("a small red dog is running on the wet street", tagger) == "dog street"
