"""The real SDK against a real server on localhost that does all that servers do to one."""

import json
import logging
import re
import time
import traceback
from dataclasses import replace

import pytest

from tadp_captioning import CaptionRecord, CaptionStore, CleaningLimits, clean_store, load_cleaner
from tadp_captioning import cleaner_of as recorded_cleaner
from tadp_captioning.chat_api.chat_model import Endpoint, UnfitAnswerError
from tadp_captioning.chat_api.cost import Price
from tadp_captioning.cleaning.openai import OpenAICleaner, read_captions

KEY = "sk-verysecret1234567890"
CAPTIONS = [f"a painting of {n} dogs" for n in range(7)]
CLEANED = [f"{n} dogs" for n in range(7)]


def cleaned(request: dict) -> str:
    """What a good model answers: the captions asked, without the painting, in any order."""
    asked = json.loads(request["messages"][1]["content"])
    items = [{"number": i["number"], "caption": i["caption"].replace("a painting of ", "")} for i in asked]
    return json.dumps({"captions": items[::-1]})


@pytest.fixture
def server(chat_server, monkeypatch):
    monkeypatch.setattr("tadp_captioning.cleaning.openai._FIRST_WAIT_S", 0.001)
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    chat_server.answer = cleaned
    return chat_server


@pytest.fixture
def cleaner_of(server, tmp_path):
    def build(*, retries=2, timeout_s=5.0, **settings) -> OpenAICleaner:
        endpoint = Endpoint(model="toy", base_url=server.base_url, retries=retries, timeout_s=timeout_s)
        settings = {"price": Price(1.0, 2.0), "batch_size": 3, "parallel": 1, **settings}
        return OpenAICleaner("watercolor", endpoint=endpoint, cache=tmp_path / "cache.jsonl", **settings)

    return build


@pytest.mark.parametrize("parallel", [1, 4])
def test_one_caption_comes_back_for_each(server, cleaner_of, parallel):
    seen = []
    cleaner = cleaner_of(parallel=parallel, progress=lambda done, total: seen.append((done, total)))
    result = cleaner.clean(["- " + CAPTIONS[0], *CAPTIONS[1:], CAPTIONS[3], "", "a cat"])
    assert result.captions == [*CLEANED, CLEANED[3], "", "a cat"]
    assert result.changed == 8
    assert result.residual == 0
    assert len(server.requests) == 3, "8 different texts in batches of 3"
    assert seen[-1] == (8, 8)
    assert set(server.keys) == {f"Bearer {KEY}"}
    assert server.requests[0]["response_format"]["type"] == "json_schema"
    assert "watercolor style" in server.requests[0]["messages"][0]["content"]


def test_style_words_that_the_model_left_are_counted(server, cleaner_of):
    server.answer = lambda request: json.dumps({"captions": [{"number": 1, "caption": "a watercolor dog"}]})
    result = cleaner_of().clean(["a painting of a dog"])
    assert (result.residual, dict(result.residues)) == (1, {"watercolor": 1})


def test_a_caption_is_never_emptied(server, cleaner_of):
    server.answer = lambda request: json.dumps({"captions": [{"number": 1, "caption": " "}]})
    assert cleaner_of().clean(["a painting"]).captions == ["a painting"]


def too_many(server, **headers):
    return lambda handler, request: server.send(handler, 429, b'{"error": {"message": "slow down"}}', **headers)


def broken(server):
    return lambda handler, request: server.send(handler, 500, b"oops")


def cut(server):
    """Promises more than it sends, then closes."""

    def step(handler, request):
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        handler.wfile.write(b'{"choices": [')
        handler.close_connection = True

    return step


def slow(server):
    return lambda handler, request: time.sleep(0.4)


def page(server):
    return lambda handler, request: server.send(handler, 200, b"<html>busy</html>", Content_Type="text/html")


def half_json(server):
    return lambda handler, request: server.send(handler, 200, b'{"choices": [{')


def prose(server):
    return lambda handler, request: server.say(handler, "Sure! Here are your captions: 0 dogs, 1 dogs, 2 dogs")


def too_few(server):
    return lambda handler, request: server.say(handler, json.dumps({"captions": [{"number": 1, "caption": "x"}]}))


def merged(server):
    """The right number of items, one of them twice."""
    items = [{"number": n, "caption": "x"} for n in (1, 2, 2)]
    return lambda handler, request: server.say(handler, json.dumps({"captions": items}))


@pytest.mark.parametrize("trouble", [too_many, broken, cut, slow, page, half_json, prose, too_few, merged])
def test_after_trouble_it_asks_again_and_all_captions_are_right(server, cleaner_of, trouble):
    server.script = [trouble(server)]
    assert cleaner_of(timeout_s=0.3).clean(CAPTIONS).captions == CLEANED
    assert len(server.requests) > 3


def test_retry_after_is_waited_for(server, cleaner_of):
    server.script = [too_many(server, Retry_After="0.5")]
    start = time.monotonic()
    assert cleaner_of().clean(CAPTIONS[:1]).captions == CLEANED[:1]
    assert time.monotonic() - start >= 0.5


def test_a_batch_that_does_not_fit_is_halved(server, cleaner_of):
    """A model at temperature 0 would miscount the same batch again."""

    def miscounts_three(request: dict) -> str:
        whole = json.loads(cleaned(request))["captions"]
        return json.dumps({"captions": whole[:2] if len(whole) > 2 else whole})

    server.answer = miscounts_three
    assert cleaner_of().clean(CAPTIONS[:3]).captions == CLEANED[:3]
    sizes = [len(json.loads(request["messages"][1]["content"])) for request in server.requests]
    assert sizes == [3, 2, 1]


@pytest.mark.parametrize(
    ("trouble", "says"),
    [
        (too_many, r"HTTP 429: slow down \(tried 3 times\)"),
        (broken, "HTTP 500: oops"),
        (cut, "Connection error"),
        (slow, "timed out"),
        (page, "no chat completion but '<html>busy"),
        (prose, "not the JSON that was asked for but 'Sure!"),
        (merged, "unusable answers in a row; the last error: 3 items for 1 captions"),
    ],
)
def test_trouble_without_end_is_one_line_and_what_was_paid_is_kept(server, cleaner_of, trouble, says):
    assert cleaner_of().clean(CAPTIONS[:3]).changed == 3
    server.script = [trouble(server)] * 60
    with pytest.raises(RuntimeError, match=says) as error:
        cleaner_of(timeout_s=0.3).clean(CAPTIONS)
    assert "\n" not in str(error.value)
    server.script, server.requests[:] = [], []
    assert cleaner_of().clean(CAPTIONS).captions == CLEANED
    assert len(server.requests) == 2, "four captions are new"


def test_nothing_is_paid_twice(server, cleaner_of, tmp_path):
    cleaner_of().clean(CAPTIONS)
    server.requests.clear()
    again = cleaner_of()
    assert again.estimate(CAPTIONS).texts == 0
    assert again.clean(CAPTIONS).captions == CLEANED
    assert server.requests == []
    comic = OpenAICleaner("comic", endpoint=again.endpoint, cache=tmp_path / "cache.jsonl", price=Price(0, 0))
    assert comic.estimate(CAPTIONS).texts == 7, "another prompt, other answers"
    for base_url, new in ((server.base_url + "/", 0), ("http://localhost:1/v1", 7)):
        elsewhere = replace(again.endpoint, base_url=base_url)
        other = OpenAICleaner("watercolor", endpoint=elsewhere, cache=tmp_path / "cache.jsonl", price=Price(0, 0))
        assert other.estimate(CAPTIONS).texts == new, "another server may have another model of that name"


def test_a_cache_cut_by_a_kill_is_read(server, cleaner_of, tmp_path):
    cleaner_of().clean(CAPTIONS)
    content = (tmp_path / "cache.jsonl").read_bytes()
    (tmp_path / "cache.jsonl").write_bytes(content[:-9])
    assert cleaner_of().estimate(CAPTIONS).texts == 1
    assert cleaner_of().clean(CAPTIONS).captions == CLEANED


def test_the_estimate_counts_tokens_about_right(cleaner_of):
    """Against the plain count of bytes: instructions and schema once a request, captions on both ways."""
    estimate = cleaner_of().estimate(CAPTIONS)
    assert (estimate.texts, estimate.requests) == (7, 3)
    words = sum(len(caption) for caption in CAPTIONS) / 4
    assert estimate.output_tokens > words
    assert estimate.input_tokens > estimate.output_tokens
    assert estimate.usd == pytest.approx((estimate.input_tokens + 2 * estimate.output_tokens) / 1e6)


def test_an_estimate_above_the_cap_is_refused_before_anything_is_sent(server, cleaner_of):
    with pytest.raises(ValueError, match=r"7 captions would cost about \$0\.\d+, above the cap of \$0\.00"):
        cleaner_of(max_usd=0.0).clean(CAPTIONS)
    assert server.requests == []


def rambling(server, costs):
    """Generates until it is cut off, counts one token per input byte, and records the cost."""

    def step(handler, request):
        into = sum(len(message["content"].encode()) for message in request["messages"])
        out = request.get("max_completion_tokens", 100_000)
        costs.append((into * 1.0 + out * 2.0) / 1e6)
        server.say(handler, "well, " * 20, finish_reason="length", tokens=(into, out))

    return step


@pytest.mark.parametrize("parallel", [1, 4])
def test_the_cap_holds_when_tokens_cost_more_than_was_estimated(server, cleaner_of, parallel):
    """Unfit answers are paid too."""
    costs = []
    server.script = [rambling(server, costs)] * 60
    cleaner = cleaner_of(max_usd=0.003, parallel=parallel)
    with pytest.raises(RuntimeError, match=r"stopped before the cap of \$0\.0030: \$0\.00.* may cost \$0\.00"):
        cleaner.clean(CAPTIONS)
    assert cleaner.spending.spent_usd == pytest.approx(sum(costs))
    assert 0.0015 < cleaner.spending.spent_usd <= 0.003, "as much as fits is asked"


def test_requests_wait_for_the_money_that_others_leave(server, cleaner_of):
    """What all may cost at most is above the cap, what they do cost far below."""
    cleaner = cleaner_of(max_usd=0.002, parallel=4)
    assert cleaner.clean(CAPTIONS).captions == CLEANED
    assert cleaner.spending.spent_usd == pytest.approx(3 * 120e-6)


def test_a_cut_answer_is_named_as_one(server, cleaner_of):
    server.script = [rambling(server, [])] * 60
    with pytest.raises(RuntimeError, match=r"unusable answers in a row; the last error: cut at \d+ tokens"):
        cleaner_of().clean(CAPTIONS)


@pytest.mark.parametrize("status", [400, 402, 405, 413])
def test_what_no_further_try_changes_is_wrong_use_and_asked_once(server, cleaner_of, status):
    server.script = [lambda handler, request: server.send(handler, status, b'{"error": {"message": "no"}}')] * 9
    with pytest.raises(ValueError, match=rf"HTTP {status}: no$"):
        cleaner_of().clean(CAPTIONS[:3])
    assert len(server.requests) == 1


def test_a_server_may_leave_the_tokens_uncounted(server, cleaner_of):
    server.script = [lambda handler, request: server.say(handler, cleaned(request), tokens=(None, None))]
    cleaner = cleaner_of()
    assert cleaner.clean(CAPTIONS[:3]).captions == CLEANED[:3]
    assert cleaner.spending.spent_usd == 0


def test_a_model_without_a_price_needs_one(server):
    with pytest.raises(ValueError, match="no price is known for model 'toy'"):
        OpenAICleaner(endpoint=Endpoint(model="toy", base_url=server.base_url))


def test_without_a_key_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    with pytest.raises(ValueError, match="set the environment variable OPENAI_API_KEY"):
        OpenAICleaner()


def test_a_server_of_ones_own_needs_no_key(server, cleaner_of, monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    assert cleaner_of().clean(CAPTIONS[:1]).captions == CLEANED[:1]


def test_no_key_is_in_any_output(server, cleaner_of, tmp_path, caplog, capfd):
    """Even where the server sends it back in its error."""
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}. Or sk-proj-ab*****yz?"}}).encode()
    server.script = [
        lambda handler, request: server.send(handler, 500, body),
        lambda handler, request: server.send(handler, 401, body),
    ]
    with caplog.at_level(logging.DEBUG), pytest.raises(ValueError, match=r"HTTP 401: Incorrect API key") as error:
        cleaner_of().clean(CAPTIONS)
    said = "".join(traceback.format_exception(error.value)) + caplog.text + "".join(capfd.readouterr())
    said += "".join(file.read_text() for file in tmp_path.rglob("*") if file.is_file())
    assert len(caplog.records) > 3, "the SDK's own notes are among it"
    assert "verysecret" not in said
    assert not re.search(r"sk-\w", said)


def test_a_store_is_cleaned_as_by_rules(server, cleaner_of):
    store = CaptionStore(
        [
            CaptionRecord(id="a", caption=CAPTIONS[2], extra={"class_label": 4}),
            CaptionRecord(id="b", caption="", extra={"error": "truncated"}),
        ]
    )
    after, report = clean_store(store, cleaner_of())
    assert after["a"] == CLEANED[2]
    assert after.record("a").extra == {"class_label": 4}
    assert after.failed() == {"b": "truncated"}
    assert report.changed == 1


@pytest.mark.parametrize("answer", ["[]", "null", '{"captions": 3}', '{"captions": [{"number": 1, "caption": 5}]}', ""])
def test_odd_json_is_unfit(answer):
    with pytest.raises(UnfitAnswerError):
        read_captions(answer, 1)


def test_a_limit_of_requests_allows_a_model_without_a_price(server, tmp_path):
    endpoint = Endpoint(model="mine", base_url=server.base_url, retries=0)
    limits = {"endpoint": endpoint, "cache": tmp_path / "c.jsonl", "batch_size": 3, "parallel": 1}
    cleaner = OpenAICleaner("watercolor", max_requests=3, **limits)
    assert cleaner.estimate(CAPTIONS).usd is None
    assert cleaner.clean(CAPTIONS).captions == CLEANED
    with pytest.raises(ValueError, match="takes 3 requests, above the maximum of 2: raise --max-requests"):
        OpenAICleaner("comic", max_requests=2, **limits).clean(CAPTIONS)
    assert len(server.requests) == 3


def test_halved_batches_count_against_the_limit_of_requests(server, tmp_path):
    server.answer = lambda request: "no JSON"
    endpoint = Endpoint(model="mine", base_url=server.base_url, retries=0)
    cleaner = OpenAICleaner(endpoint=endpoint, cache=tmp_path / "c.jsonl", max_requests=2, parallel=1)
    with pytest.raises(RuntimeError, match="stopped after 2 requests, the maximum"):
        cleaner.clean(CAPTIONS)
    assert len(server.requests) == 2


def test_cleaners_by_name_are_recorded_with_the_captions(server, tmp_path):
    store = CaptionStore([CaptionRecord(id="a", caption="a painting of 1 dogs")])
    limits = CleaningLimits(base_url=server.base_url, price=Price(0, 0), cache=tmp_path / "c.jsonl")
    for name in ("rules", "openai:toy"):
        cleaned, _ = clean_store(store, load_cleaner(name, "watercolor", limits))
        assert cleaned["a"] == "1 dogs"
        cleaned.write(tmp_path / "out.jsonl")
        assert recorded_cleaner(CaptionStore.read(tmp_path / "out.jsonl")) == name
    assert recorded_cleaner(store) == ""
    for name in ("openai:", "magic"):
        with pytest.raises(ValueError, match="unknown cleaner"):
            load_cleaner(name, None)
