"""What the web page computes and shows, without a browser: word maps, the deletion test, images, markup, origins."""

import asyncio
import base64
import io
import re

import numpy as np
import pytest
import torch
from PIL import Image

from tadp_backbone import DiffusionBackbone
from tadp_backbone.text.word_attention import Word, heat_maps, words_of
from tadp_cli.app import deletion
from tadp_cli.app.images import open_upload, scene
from tadp_cli.app.markup import figures, legend, words_html
from tadp_cli.app.models import Models
from tadp_cli.app.security import SameOrigin
from tadp_cli.app.words import WordMaps, encode, spoken_words, word_maps
from tadp_cli.pipelines.forward_pass import run_pass
from tadp_cli.report.heat_maps import quick_data_uri

HOSTILE = "<img src=x onerror=alert(1)>\"'&"


@pytest.fixture(scope="module")
def backbone():
    return DiffusionBackbone.from_pretrained("tiny")


@pytest.mark.parametrize("size", [(64, 64), (50, 37)])
def test_maps_of_cached_latents_are_those_of_a_whole_pass(backbone, size):
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8))
    found = word_maps(backbone, encode(backbone, image), "a circle, and a tree")
    assert [word.text for word in found.words] == ["a", "circle", "and", "a", "tree"]
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]
    with torch.no_grad():
        features = run_pass(backbone, pixels, backbone.encode_text(["a circle, and a tree"]))
    expected = heat_maps(features, spoken_words(backbone, "a circle, and a tree")).numpy()
    assert found.maps.shape == (5, *size)
    np.testing.assert_allclose(found.maps, expected, atol=1e-4)
    assert word_maps(backbone, encode(backbone, image), " ,").maps.shape == (0, *size)


def test_an_image_is_encoded_once_and_a_run_that_is_gone_is_one_line(tmp_path):
    models = Models([tmp_path / "gone"])
    first, again = scene(3), scene(3)
    with models.alone():
        assert models.latents(first, models.backbone) is models.latents(again, models.backbone)
    with pytest.raises(ValueError, match="the run gone is not in its folder any more: choose another one"):
        models.run("gone")
    with pytest.raises(ValueError, match="no run: start `tadp app RUN`"):
        models.run("../other")


def test_images_in_a_page_lose_nothing_when_they_are_packed_quickly():
    """Ten maps packed as small as possible took as long as the UNet."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8))
    data = base64.b64decode(quick_data_uri(image).removeprefix("data:image/png;base64,"))
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(data))), np.asarray(image))


def test_the_legend_says_of_which_image_and_hides_no_class():
    shown = legend({"tree": 0.9996, "star": 0.0004}, {"tree": (1, 2, 3), "star": (4, 5, 6)}, "prompt 2")
    assert re.findall("<b>(.*?)</b>", shown) == ["prompt 2"]
    assert "tree 100.0 %" in shown
    assert "star &lt; 0.1 %" in shown


def test_prompts_with_a_word_less_or_another(backbone):
    """Punctuation used to go with the word, and its effect was counted as the word's."""
    prompt = "a star, a house, and a red tree."
    words = words_of(backbone.tokenizer, prompt)
    assert deletion.without(words, words[8]) == "a star, a house, and a tree."
    assert deletion.without(words, words[1]) == "a, a house, and a red tree."
    assert deletion.replaced(words, "red", "blue") == "a star, a house, and a blue tree."
    assert deletion.replaced(words, "red", "") == "a star, a house, and a tree."
    with pytest.raises(ValueError, match="'moon' is not in the prompt; its words are a, star, a, house, and, a, red"):
        deletion.replaced(words, "moon", "x")


def test_what_a_word_changes_and_whether_it_attends_there():
    whole, less = torch.zeros(2, 2, 5), torch.zeros(2, 2, 5)
    whole[0], less[0] = 1, 1
    whole[:, 0, :2] = torch.tensor([0.0, 1.0])[:, None]  # two of ten pixels are class 1 with the word
    change, changed, areas = deletion.difference(whole, less, ["ground", "tree"])
    assert changed == pytest.approx(0.2)
    assert areas == pytest.approx({"ground": 0.2, "tree": -0.2})
    assert change.sum() == pytest.approx(2)
    assert deletion.share_in_top(change, change) == 1
    assert deletion.rank_correlation(change, 3 * change) == pytest.approx(1)
    assert deletion.rank_correlation(change, -change) == pytest.approx(-1)
    assert np.isnan(deletion.rank_correlation(change, np.ones_like(change)))


def test_uploads_are_refused_in_one_line_or_become_small_rgb(tmp_path):
    Image.new("1", (10_000, 10_000)).save(tmp_path / "huge.png")
    with pytest.raises(ValueError, match=r"huge\.png has more than 25 megapixels: scale it down"):
        open_upload(str(tmp_path / "huge.png"))
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    with pytest.raises(ValueError, match=r"torn\.png: no image that can be read"):
        open_upload(str(tmp_path / "torn.png"))
    with pytest.raises(ValueError, match="no image: choose a file"):
        open_upload(None)
    Image.new("CMYK", (600, 300), (0, 255, 255, 0)).save(tmp_path / "print.jpg")
    made = open_upload(str(tmp_path / "print.jpg"))
    assert (made.image.mode, made.image.size) == ("RGB", (256, 128))


def test_scenes_have_a_caption_and_a_known_domain():
    assert scene(1).caption
    assert scene(1).key == scene(1).key != scene(2).key
    with pytest.raises(ValueError, match="unknown domain 'x'"):
        scene(1, "x")


def test_words_and_class_names_are_text_whatever_they_hold():
    image, maps = Image.new("RGB", (8, 8)), WordMaps((Word(HOSTILE, (1,)),), np.ones((1, 8, 8)))
    for page in (
        words_html(image, maps),
        figures([(image, HOSTILE, HOSTILE)]),
        legend({HOSTILE: 1.0}, {HOSTILE: (1, 2, 3)}),
    ):
        assert "<img src=x" not in page
        assert "&lt;img src=x onerror=alert(1)&gt;&quot;&#x27;&amp;" in page


@pytest.mark.parametrize(
    ("host", "headers", "status"),
    [
        ("127.0.0.1", {"host": "127.0.0.1:7860"}, 200),
        ("127.0.0.1", {"host": "localhost:7860", "origin": "http://localhost:7860"}, 200),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "https://evil.example"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:9999"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "origin": "null"}, 403),
        ("127.0.0.1", {"host": "evil.example:7860"}, 403),
        ("127.0.0.1", {"host": "127.0.0.1:7860", "x-forwarded-host": "evil.example"}, 403),
        ("0.0.0.0", {"host": "box.lan:7860", "origin": "http://box.lan:7860"}, 200),
        ("0.0.0.0", {"host": "box.lan:7860", "origin": "http://evil.example"}, 403),
    ],
)
def test_other_sites_pages_are_refused(host, headers, status):
    sent = []

    async def page(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "headers": [(k.encode(), v.encode()) for k, v in headers.items()]}
    asyncio.run(SameOrigin(page, host)(scope, None, send))
    assert sent[0]["status"] == status
    policy = dict(sent[0]["headers"]).get(b"content-security-policy", b"")
    assert (b"default-src 'self'" in policy) == (status == 200)
