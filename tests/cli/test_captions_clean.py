"""`tadp captions clean --cleaner openai` with the real SDK against a server on localhost."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from typer.testing import CliRunner

from tadp_cli.main import app

KEY = "sk-verysecret1234567890"


class Cleaning(BaseHTTPRequestHandler):
    def do_POST(self):
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != f"Bearer {KEY}":
            return self.reply(401, {"error": {"message": f"wrong key {self.headers['Authorization']}"}})
        items = json.loads(request["messages"][1]["content"])
        cleaned = [{**item, "caption": item["caption"].replace("a painting of ", "")} for item in items]
        message = {"role": "assistant", "content": json.dumps({"captions": cleaned})}
        usage = {"prompt_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500}
        self.reply(200, {"choices": [{"index": 0, "finish_reason": "stop", "message": message}], "usage": usage})

    def reply(self, status, content):
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def arguments(tmp_path, monkeypatch):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Cleaning)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    captions = tmp_path / "c.json"
    captions.write_text(json.dumps({"x": {"captions": ["- a painting of a dog"]}, "y": {"captions": ["a cat"]}}))
    url = f"http://127.0.0.1:{server.server_port}/v1"
    options = ("--domain", "watercolor", "--cleaner", "openai", "--base-url", url)
    yield ["captions", "clean", str(captions), "--out", str(tmp_path / "out.jsonl"), *options]
    server.shutdown()
    server.server_close()


def run(arguments, *more):
    result = CliRunner().invoke(app, [*arguments, *more])
    assert "verysecret" not in result.output
    return result.exit_code, " ".join(result.output.split())


def test_cost_is_estimated_then_counted_and_a_rerun_is_free(arguments, tmp_path):
    code, said = run(arguments, "--price", "1,2")
    assert code == 0, said
    assert "2 texts in 1 requests, about $0.00" in said
    assert "spent $0.0020" in said, "1000 tokens in for 1 dollar and 500 out for 2 dollars a million"
    assert "1 of 2 captions changed, 0 still name a style" in said
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["caption"] for row in rows] == ["a dog", "a cat"]
    assert "spent $0.0000" in run(arguments, "--price", "1,2")[1]


def test_a_limit_of_requests_is_enough_for_a_model_of_unknown_price(arguments, tmp_path):
    code, said = run(arguments, "--cleaner", "openai:mine", "--max-requests", "1")
    assert code == 0, said
    assert "2 texts in 1 requests, price unknown" in said
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [(row["caption"], row["cleaner"]) for row in rows] == [("a dog", "openai:mine"), ("a cat", "openai:mine")]


def test_a_cap_of_nothing_shows_the_estimate_and_ends(arguments, tmp_path):
    code, said = run(arguments, "--max-usd", "0", "--base-url", "http://127.0.0.1:1/v1")
    assert code == 0, said
    assert said.startswith("2 texts in 1 requests, about $0.00")
    assert "spent" not in said
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--max-usd", "0.0000001"), "above the cap of $0.00"),
        (("--price", "cheap"), "--price 'cheap': expected two numbers"),
        (("--model", "toy"), "no price is known for model 'toy'"),
        (("--domain-phrase", "pencil sketch"), "either --domain"),
        (("--cleaner", "magic"), "unknown cleaner 'magic'; choose rules, or openai:MODEL"),
    ],
)
def test_wrong_use_is_one_line_and_nothing_is_written(arguments, tmp_path, more, message):
    code, said = run(arguments, *more)
    assert (code, said.count("error:")) == (2, 1)
    assert message in said
    assert not (tmp_path / "out.jsonl").exists()


def test_a_refused_key_is_one_line_without_it(arguments, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY + "-old")
    code, said = run(arguments)
    assert code == 2
    assert "HTTP 401: wrong key Bearer ***" in said
