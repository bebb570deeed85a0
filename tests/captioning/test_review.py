"""Captions reviewed over HTTP, by a real client: flagged first, edits kept in the file."""

import threading
from html import unescape
from http.client import HTTPConnection
from io import BytesIO
from urllib.parse import urlencode

import pytest
from packed import shard
from PIL import Image

from tadp_captioning import CaptionRecord, CaptionStore, caption_images
from tadp_captioning.archives.images import packed_images
from tadp_captioning.review import CaptionReview, review_server
from tadp_captioning.review.edits import PER_PAGE


@pytest.fixture
def store(tmp_path):
    """More than a page, two of them flagged."""
    store = CaptionStore.open(tmp_path / "captions.jsonl")
    Image.new("RGB", (1200, 600), "red").save(tmp_path / "wide.png")
    records = [CaptionRecord(id=f"{n:02}", caption=f"image {n}", source="wide.png") for n in range(PER_PAGE + 2)]
    records[5] = CaptionRecord(id="a <b>", caption="a dog a dog a dog a dog", source="wide.png", extra={"hash": "1"})
    records[9] = CaptionRecord(id="09", caption="", source="none.png", extra={"error": "not an image file"})
    store.add(*records)
    return store


@pytest.fixture
def ask(store):
    """Sends a request; gives status, headers and body."""
    with review_server(CaptionReview(store)) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        port = server.server_address[1]

        def ask(method, path, form=None, **headers):
            connection = HTTPConnection("127.0.0.1", port, timeout=10)
            try:
                kind = {"Content-Type": "application/x-www-form-urlencoded"}
                connection.request(method, path, form and urlencode(form), kind | headers)
                answer = connection.getresponse()
                return answer.status, dict(answer.headers), answer.read()
            finally:
                connection.close()

        yield ask
        server.shutdown()


def test_flagged_captions_come_first_and_edits_are_kept(store, ask):
    page = ask("GET", "/")[2].decode()
    assert f"{PER_PAGE + 2} captions, 2 flagged" in page
    assert page.index('id="09"') < page.index('id="a &lt;b&gt;"') < page.index('id="00"')
    assert "not an image file" in page
    assert page.count("<form") == PER_PAGE
    assert ask("GET", "/?page=2")[2].decode().count("<form") == 2
    for image_id, text in (("a <b>", "a dog & its  shadow\n"), ("09", "a star")):
        status, headers, _ = ask("POST", "/", {"id": image_id, "caption": text, "page": "1"})
        assert (status, headers["Location"].partition("#")[0]) == (303, "/?page=1")
    kept = CaptionStore.read(store.path)
    assert kept["a <b>"] == "a dog & its shadow"
    assert kept["09"] == "a star"
    assert kept.get("a <b>").extra == {"hash": "1", "edited": True}
    assert "a dog & its shadow" in unescape(ask("GET", "/")[2].decode())


def test_images_are_shown_small(ask):
    _, headers, content = ask("GET", "/image?id=00")
    assert headers["Content-Type"] == "image/jpeg"
    assert Image.open(BytesIO(content)).size == (512, 256)
    assert ask("GET", "/image?id=09")[0] == 404
    assert ask("GET", "/image?id=no")[0] == 404


def test_what_is_no_caption_and_who_is_no_reviewer_is_refused(store, ask):
    before = store.path.read_text()
    assert ask("POST", "/", {"id": "00", "caption": " "})[0] == 400
    assert ask("POST", "/", {"id": "no", "caption": "x"})[0] == 400
    assert ask("POST", "/", {"id": "00", "caption": "x" * 200_000})[0] == 413
    for length in ("-1", "x", ""):  # reading -1 bytes would wait for ever
        assert ask("POST", "/", {"id": "00", "caption": "x"}, **{"Content-Length": length})[0] == 411
    assert ask("POST", "/", {"id": "00", "caption": "x"}, Origin="http://elsewhere.example")[0] == 403
    assert ask("GET", "/", Host="elsewhere.example")[0] == 403
    assert ask("GET", "/?page=x")[0] == 200
    assert store.path.read_text() == before


class Author:
    """A captioner whose captions are all the same."""

    name, params, batch_size = "author", "min=0_max=7", 2

    def prepare(self, images):
        return images

    def caption(self, images):
        return ["a star a star a star a star"] * len(images)

    answer = caption


def test_edited_captions_of_an_archive_are_not_written_over(tmp_path):
    images = packed_images([str(shard(tmp_path / "a.tar", range(3)))])
    store = CaptionStore.open(tmp_path / "captions.jsonl")
    caption_images(Author(), images, store)
    review = CaptionReview(store, images)
    assert set(review.flags) == set(images)
    assert review.image("part/000001").inner == "part/000001.png"
    review.edit("part/000001", "a green square")
    again = CaptionStore.open(tmp_path / "captions.jsonl")
    assert caption_images(Author(), images, again) == (0, 3, {})
    assert again["part/000001"] == "a green square"
