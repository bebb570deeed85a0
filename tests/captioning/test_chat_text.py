import json
import re

import pytest
from PIL import Image

from tadp_captioning import CaptionStore, OpenAICleaner, caption_images, find_images, load_captioner
from tadp_captioning.chat_api.answer_text import NoCaption, caption_of, fenced
from tadp_captioning.chat_api.chat_model import Endpoint, read_answer
from tadp_captioning.chat_api.cost import Price


@pytest.mark.parametrize(
    "answer",
    [
        "<think>\nOne sentence is wanted.\n</think>\n\nA red circle on grass.",
        "Okay, one sentence.\n</think>\n\nA red circle on grass.",
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>A red circle on grass.",
        "A red circle on grass.<|im_end|>",
        "<s> A red circle on grass.</s>",
        "A red circle on grass.<end_of_turn>",
        "A red circle on grass. <think> Was that",
    ],
)
def test_the_caption_is_what_stands_behind_the_thoughts(answer):
    assert caption_of(answer, "stop") == "A red circle on grass."


@pytest.mark.parametrize(
    ("answer", "finish", "reason"),
    [
        ("<think>\nThe user wants a description. Let me look at the", "length", "thoughts alone .*raise --max-tokens"),
        ("", "content_filter", "content_filter"),
        ("I'm sorry, but I can't help with that.", "stop", "refused"),
        ("I cannot describe people in images.", "stop", "refused"),
    ],
)
def test_thoughts_without_an_end_and_refusals_are_no_captions(answer, finish, reason):
    caption = caption_of(answer, finish)
    assert isinstance(caption, NoCaption)
    assert re.search(reason, caption.reason)


def test_people_who_are_sorry_in_a_picture_are_a_caption():
    assert caption_of("a woman with a sorry face") == "a woman with a sorry face"


def test_json_is_taken_out_of_a_fence_behind_thoughts():
    assert fenced('<think>hm</think>Sure!\n```json\n{"a": 1}\n```\nDone.') == '{"a": 1}'
    assert fenced('{"a": 1}') == '{"a": 1}'


def test_parts_of_a_content_are_joined_without_thoughts():
    parts = [{"type": "thinking", "thinking": []}, {"type": "text", "text": "a "}, {"type": "text", "text": "dog"}]
    assert read_answer(json.dumps({"choices": [{"message": {"content": parts}}]})).text == "a dog"


def test_an_image_without_a_caption_has_failed_and_is_tried_again(chat_server, tmp_path):
    (tmp_path / "images").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.png")
    captioner = load_captioner("openai:m", base_url=chat_server.base_url, batch_size=1)
    chat_server.script = [lambda handler, request: chat_server.say(handler, "<think>", finish_reason="length")]
    store = CaptionStore.open(tmp_path / "c.jsonl")
    done = caption_images(captioner, find_images(tmp_path), store)
    assert (done.captioned, list(done.failed)) == (1, ["a"])
    assert caption_images(captioner, find_images(tmp_path), CaptionStore.open(tmp_path / "c.jsonl")) == (1, 1, {})


def refusing(server, refused: dict[str, tuple[int, dict]]):
    """Answers with the error of the first parameter that a request holds."""

    def answer(handler, request):
        for name, (status, body) in refused.items():
            if name in request:
                return server.send(handler, status, json.dumps(body).encode())
        return server.say(handler, "a dog" if "response_format" not in refused else SENT)

    return answer


SENT = '```json\n{"captions": [{"number": 1, "caption": "a dog"}]}\n```'
TEMPERATURE = (
    400,
    {"error": {"message": "Unsupported value: 'temperature' does not support 0"}},
)
LIMIT = (
    422,
    {"detail": [{"type": "extra_forbidden", "loc": ["body", "max_completion_tokens"], "msg": "not permitted"}]},
)
FORMAT = (400, {"error": {"message": "This response_format type is unavailable now"}})


def test_parameters_that_a_server_refuses_are_left_out_from_then_on(chat_server):
    chat_server.script = [refusing(chat_server, {"temperature": TEMPERATURE, "max_completion_tokens": LIMIT})] * 4
    captioner = load_captioner("openai:m", base_url=chat_server.base_url, batch_size=1, max_new_tokens=9)
    assert captioner.caption([Image.new("RGB", (8, 8))] * 2) == ["a dog"] * 2
    assert len(chat_server.requests) == 4
    assert chat_server.requests[-1]["max_tokens"] == 9
    assert "temperature" not in chat_server.requests[-1]


def test_a_limit_of_tokens_is_never_left_out(chat_server):
    too_many = (400, {"error": {"message": "max_tokens is too large"}})
    chat_server.script = [refusing(chat_server, {"max_completion_tokens": LIMIT, "max_tokens": too_many})] * 3
    captioner = load_captioner("openai:m", base_url=chat_server.base_url, batch_size=1)
    with pytest.raises(ValueError, match="max_tokens is too large"):
        captioner.caption([Image.new("RGB", (8, 8))])


def test_a_cleaner_asks_a_server_without_schemas_for_plain_json(chat_server, tmp_path):
    chat_server.script = [refusing(chat_server, {"response_format": FORMAT})] * 2
    endpoint = Endpoint(model="m", base_url=chat_server.base_url)
    cleaner = OpenAICleaner("watercolor", endpoint=endpoint, cache=tmp_path / "cache", price=Price(0, 0))
    assert cleaner.clean(["a watercolor dog"]).captions == ["a dog"]
    assert '{"captions":' in chat_server.requests[-1]["messages"][0]["content"]


def test_a_server_of_this_machine_is_not_asked_through_a_proxy(chat_server, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    captioner = load_captioner("openai:m", base_url=chat_server.base_url, batch_size=1)
    assert captioner.caption([Image.new("RGB", (8, 8))]) == ["a dog"]
