import base64
import io
import json

import pytest
from PIL import Image

from tadp_captioning import Captioner, CaptionStore, caption_images, find_images, load_captioner
from tadp_captioning.captioners.openai import data_url


def seen(request: dict) -> Image.Image:
    """The image that a request holds."""
    (url,) = (part["image_url"]["url"] for part in request["messages"][0]["content"] if part["type"] == "image_url")
    return Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/jpeg;base64,"))))


def size_of(request: dict) -> str:
    return "an image of {} by {} ".format(*seen(request).size)


@pytest.fixture
def captioner(chat_server, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    chat_server.answer = size_of
    return load_captioner("openai:toy", base_url=chat_server.base_url, max_new_tokens=9, prompt="What is it?")


def test_every_image_gets_its_own_caption(captioner, chat_server, image_folder, tmp_path):
    images = find_images(image_folder)
    store = CaptionStore.open(tmp_path / "c.jsonl")
    assert caption_images(captioner, images, store) == (7, 0, {})
    for image_id, path in images.items():
        with Image.open(path) as image:
            assert store[image_id] == "an image of {} by {}".format(*image.size)
    record = store.record("picture_0")
    assert (record.captioner, record.params) == ("openai:toy", "min=0_max=9_prompt=What is it?")
    assert isinstance(captioner, Captioner)
    assert all(request["model"] == "toy" for request in chat_server.requests)
    assert chat_server.requests[0]["max_completion_tokens"] == 9
    assert chat_server.requests[0]["messages"][0]["content"][0]["text"] == "What is it?"


def test_large_images_are_sent_small_and_with_the_same_content():
    image = Image.linear_gradient("L").resize((3000, 1500))
    sent = seen({"messages": [{"content": [{"type": "image_url", "image_url": {"url": data_url(image)}}]}]})
    assert sent.size == (1024, 512)
    assert sent.mode == "RGB"
    assert abs(sent.getpixel((512, 256))[0] - image.getpixel((1500, 750))) < 4
    assert image.size == (3000, 1500), "the caller's image stays unchanged"


def test_trouble_on_the_way_is_asked_again(captioner, chat_server):
    chat_server.script = [
        lambda handler, request: chat_server.send(handler, 500, b"oops"),
        lambda handler, request: chat_server.send(handler, 429, b"{}", Retry_After="0.05"),
        lambda handler, request: chat_server.send(handler, 200, b"<html>", Content_Type="text/html"),
    ]
    assert captioner.caption([Image.new("RGB", (8, 9))]) == ["an image of 8 by 9"]


def test_a_refusal_is_an_empty_caption_and_said(captioner, chat_server, caplog):
    refusal = {"choices": [{"finish_reason": "content_filter", "message": {"role": "assistant", "content": None}}]}
    chat_server.script = [lambda handler, request: chat_server.send(handler, 200, json.dumps(refusal).encode())]
    assert captioner.caption([Image.new("RGB", (8, 8))]) == [""]
    assert "content_filter" in caplog.text


def test_a_refused_key_is_one_line_without_it(captioner, chat_server, image_folder, tmp_path):
    body = b'{"error": {"message": "Incorrect API key provided: sk-verysecret1234567890"}}'
    chat_server.script = [lambda handler, request: chat_server.send(handler, 401, body)] * 50
    with pytest.raises(ValueError, match=r"model .toy. at 127\.0\.0\.1: HTTP 401: Incorrect API key") as error:
        caption_images(captioner, find_images(image_folder), CaptionStore.open(tmp_path / "c.jsonl"))
    assert "verysecret" not in str(error.value)


def test_what_a_server_cannot_do_is_said(chat_server):
    with pytest.raises(ValueError, match="servers do not support min_new_tokens=20"):
        load_captioner("openai:toy", base_url=chat_server.base_url, min_new_tokens=20)
    with pytest.raises(ValueError, match="expected a model's name behind the colon"):
        load_captioner("openai:", base_url=chat_server.base_url)


def test_tags_first_asks_for_objects_and_then_for_a_caption_of_them(chat_server):
    from tadp_captioning.captioners.openai import LIST_OBJECTS, TAGS_FIRST

    def answer(request: dict) -> str:
        asked = request["messages"][0]["content"][0]["text"]
        return "cat,\n sofa" if asked == LIST_OBJECTS else f"answer to: {asked}"

    chat_server.answer = answer
    captioner = load_captioner("openai:toy", base_url=chat_server.base_url, prompt=TAGS_FIRST)
    (caption,) = captioner.caption([Image.new("RGB", (8, 9))])
    assert caption.startswith("answer to: The image shows: cat, sofa.")
    assert len(chat_server.requests) == 2
    assert "{tags}" in captioner.params, "so that the same is asked when a run resumes"
    with pytest.raises(ValueError, match="needs a chat model: use openai:MODEL"):
        load_captioner("tiny", prompt=TAGS_FIRST)
