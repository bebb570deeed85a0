"""Servers that answer nonsense, never end, or send the key back: a real client against a real server on localhost."""

import base64
import gzip
import json
import socket
import time

import pytest
from PIL import Image

from tadp_captioning import load_captioner
from tadp_captioning.chat_api.api_key import without_key
from tadp_captioning.chat_api.chat_model import ChatModel, Endpoint, UnfitAnswerError, read_answer
from tadp_captioning.chat_api.cost import Price
from tadp_captioning.cleaning.openai import OpenAICleaner, read_captions

KEY = "sk-verysecret1234567890"
ASKED = [{"role": "user", "content": "what is it?"}]


@pytest.fixture
def chat(chat_server, monkeypatch):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    return lambda **limits: ChatModel(Endpoint(model="toy", base_url=chat_server.base_url, **limits))


def completion(**changes) -> str:
    message = {"role": "assistant", "content": "a dog"}
    return json.dumps({"choices": [{"finish_reason": "stop", "message": message}]} | changes)


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ([1, 2], (0, 0)),
        ("many", (0, 0)),
        (None, (0, 0)),
        (7, (0, 0)),
        ({"prompt_tokens": "9", "completion_tokens": [1]}, (0, 0)),
        ({"prompt_tokens": {"a": 1}, "completion_tokens": True}, (0, 0)),
        ({"prompt_tokens": -5, "completion_tokens": float("nan")}, (0, 0)),
        ({"prompt_tokens": 10**400, "completion_tokens": 12.0}, (10**9, 12)),
    ],
)
def test_usage_of_any_form_is_counted_or_not_but_breaks_nothing(usage, counted):
    assert read_answer(completion(usage=usage))[2:] == counted


def test_a_huge_count_stops_before_the_next_request(chat_server, tmp_path):
    cleaned = json.dumps({"captions": [{"number": 1, "caption": "a dog"}]})
    chat_server.script = [lambda handler, request: chat_server.say(handler, cleaned, tokens=(10**400, 10**400))]
    endpoint = Endpoint(model="toy", base_url=chat_server.base_url)
    settings = {"price": Price(1, 1), "batch_size": 1, "parallel": 1, "cache": tmp_path / "c.jsonl"}
    with pytest.raises(RuntimeError, match="stopped before the cap"):
        OpenAICleaner(endpoint=endpoint, **settings).clean(["a painting of a dog", "a painting of a cat"])
    assert len(chat_server.requests) == 1


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        '"choices"',
        completion(choices=[]),
        completion(choices={"0": 1}),
        completion(choices=["a"]),
        completion(choices=[{"message": "a dog"}]),
        completion(choices=[{"message": {"content": 7}}]),
        completion(choices=[{"message": {"content": [["text"]]}}]),
        completion(choices=[{"message": {"content": [{"type": "text", "text": 7}]}}]),
        "[" * 100_000,
        "1" * 5000,
    ],
)
def test_what_is_no_completion_is_an_unfit_answer(body):
    with pytest.raises(UnfitAnswerError, match=r"^no "):
        read_answer(body)


@pytest.mark.parametrize("answer", ["[" * 100_000, '{"captions": [{"number": [], "caption": ""}]}', '{"captions": 3}'])
def test_what_are_no_captions_is_an_unfit_answer(answer):
    with pytest.raises(UnfitAnswerError):
        read_captions(answer, 1)


def test_halves_of_surrogate_pairs_can_be_written_afterwards():
    message = {"role": "assistant", "content": "a \ud83d dog \U0001f415"}
    answer = read_answer(completion(choices=[{"finish_reason": ["\udc00"], "message": message}]))
    assert answer.text == "a \ufffd dog \U0001f415"
    answer.finish_reason.encode()


def drip(handler, request):
    """A byte now and then, each well within the time that a read may take."""
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        time.sleep(0.02)


def drip_headers(handler, request):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    while True:
        handler.wfile.write(b"X-A: b\r\n")
        time.sleep(0.02)


def hang(handler, request):
    time.sleep(1)


def reset(handler, request):
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    handler.connection.close()


def no_http(handler, request):
    handler.wfile.write(b"\x00\xff" * 100 + b"\r\n\r\n")


def endless_redirects(handler, request):
    handler.send_response(307)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def bad_redirect(handler, request):
    handler.send_response(307)
    handler.send_header("Location", "http://[:::")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def too_large(handler, request):
    body = gzip.compress(bytes(8 * 2**20))
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def no_gzip(handler, request):
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", "4")
    handler.end_headers()
    handler.wfile.write(b"nope")


@pytest.mark.parametrize(
    "trouble", [drip, drip_headers, hang, reset, no_http, endless_redirects, bad_redirect, too_large, no_gzip]
)
def test_what_never_becomes_an_answer_ends_in_one_line_in_time(chat, chat_server, trouble):
    chat_server.script = [trouble] * 50
    began = time.monotonic()
    with pytest.raises(RuntimeError, match=r"^model 'toy' at 127\.0\.0\.1: [^\n]+\(tried \d times?\)$"):
        chat(timeout_s=0.2, retries=1).ask(ASKED)
    assert time.monotonic() - began < 5


def test_a_question_has_an_end_however_many_tries_are_left(chat, chat_server):
    chat_server.script = [hang] * 50
    with pytest.raises(RuntimeError, match=r"\(tried [2-5] times\)$"):
        chat(timeout_s=0.1, retries=50, total_s=0.25).ask(ASKED)


def test_a_slow_answer_within_the_limits_is_taken(chat, chat_server):
    def slowly(handler, request):
        body = gzip.compress(completion().encode())
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        for byte in body:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.001)

    chat_server.script = [slowly]
    assert chat(timeout_s=20.0).ask(ASKED).text == "a dog"


@pytest.mark.parametrize(
    "url", ["not a url", "ftp://host", "http://", "http://[", "http://\x1b/", f"http://{'a' * 300}/"]
)
def test_an_address_that_is_none_is_refused_at_the_start(chat_server, url):
    with pytest.raises(ValueError, match=r"the server's address .* is none: expected one such as http://localhost"):
        ChatModel(Endpoint(model="toy", base_url=url))


ENCODINGS = {
    "as it is": str,
    "base64 behind one byte": lambda key: base64.b64encode(b"x" + key.encode()).decode(),
    "base64 of the header": lambda key: base64.b64encode(f"Bearer {key}".encode()).decode(),
    "hex": lambda key: key.encode().hex().upper(),
    "every character escaped": lambda key: "".join(f"\\u{ord(c):04X}" for c in key),
    "every byte quoted": lambda key: "".join(f"%{ord(c):02X}" for c in key),
    "entities": lambda key: "".join(f"&#{ord(c)};" for c in key),
    "backwards": lambda key: key[::-1],
    "its beginning": lambda key: key[:12],
    "its end": lambda key: key[-9:],
    "in capitals": str.upper,
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_the_key_sent_back_is_in_no_caption_and_no_error(chat_server, monkeypatch, encoding):
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    written = ENCODINGS[encoding](KEY)
    captioner = load_captioner("openai:toy", base_url=chat_server.base_url)
    chat_server.script = [lambda handler, request: chat_server.say(handler, f"a dog with {written} on it")]
    (caption,) = captioner.caption([Image.new("RGB", (8, 8))])
    assert caption.startswith("a dog with ")
    assert caption.endswith(" on it")
    body = json.dumps({"error": {"message": f"wrong: {written}"}}).encode()
    chat_server.script = [lambda handler, request: chat_server.send(handler, 401, body)]
    with pytest.raises(ValueError, match=r"HTTP 401: wrong: ") as error:
        captioner.caption([Image.new("RGB", (8, 8))])
    for said in (caption, str(error.value)):
        own = written.removeprefix(base64.b64encode(b"Bearer").decode())
        if encoding.startswith("base64"):
            own = own[2:-2]  # the characters at both ends belong to other bytes too
        assert not [run for run in (own[i : i + 8] for i in range(len(own) - 7)) if run in said]


def test_words_stay_where_no_key_is(monkeypatch):
    text = "a photo of a dog, none of it sk secret"
    for key in ("none", "", "sk-verysecret1234567890"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        assert without_key(text) == text
