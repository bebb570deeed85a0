"""`tadp serve`: a real server in a process of its own, asked over HTTP, by good clients and bad ones."""

import http.client
import io
import json
import re
import shutil
import signal
import socket
import struct
import sys
import threading
import time
import zlib
from importlib.util import find_spec

import numpy as np
import psutil
import pytest
import serve as load_test
from invoking import tadp
from PIL import Image
from serving import started, stop

from tadp_cli.serve import model
from tadp_cli.serve.jobs import Job

pytestmark = pytest.mark.skipif(
    find_spec("fastapi") is None or find_spec("uvicorn") is None, reason="the extra tadp-cli[serve] is not installed"
)
KEY = "a key"


@pytest.fixture(scope="module")
def server(repository, tmp_path_factory):
    run = shutil.copytree(repository / "tests/data/first_layout/run", tmp_path_factory.mktemp("serve") / "run")
    process, port = started(run, "--batch-size", "4", "--max-megabytes", "2", "--max-megapixels", "4", key=KEY)
    yield process, port
    stop(process)


def ask(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=500)
    try:
        connection.request(method, path, body, {"Authorization": f"Bearer {KEY}"} | headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def picture(width=40, height=30, seed=0, kind="PNG"):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format=kind)
    return file.getvalue()


def value(port, name):
    """Of a counter or gauge."""
    text = ask(port, "GET", "/metrics")[1].decode()
    return next((float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if line.startswith(name)), 0.0)


def header_only(width, height):
    """A PNG of which the header alone is there: enough for its size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"")


def test_an_image_becomes_a_mask_of_its_size(server):
    _, port = server
    status, body, headers = ask(port, "POST", "/predict?caption=a%20red%20circle", picture(kind="JPEG"))
    assert (status, headers["content-type"]) == (200, "image/png")
    with Image.open(io.BytesIO(body)) as mask:
        assert (mask.size, mask.mode) == ((40, 30), "P")
    status, body, _ = ask(port, "POST", "/predict?caption=a&output=areas", picture())
    assert sum(json.loads(body)["areas"].values()) == pytest.approx(1)
    status, body, _ = ask(port, "POST", "/predict?caption=a&output=overlay", picture())
    with Image.open(io.BytesIO(body)) as overlay:
        assert overlay.size == (40, 30)


def test_what_operators_and_clients_ask_for(server):
    _, port = server
    assert json.loads(ask(port, "GET", "/health", Authorization="")[1]) == {"status": "ok"}
    model = json.loads(ask(port, "GET", "/model")[1])
    assert model["task"] == "segmentation"
    assert model["classes"][1] == "circle"
    assert model["outputs"] == ["mask", "areas", "overlay"]
    assert model["takes_caption"]
    schema = json.loads(ask(port, "GET", "/openapi.json")[1])
    assert "image/*" in schema["paths"]["/predict"]["post"]["requestBody"]["content"]
    ask(port, "POST", "/predict?caption=a", picture())
    text = ask(port, "GET", "/metrics")[1].decode()
    assert re.search(r'tadp_requests_total\{status="200"\} [1-9]', text)
    assert re.search(r'tadp_request_seconds_bucket\{le="\+Inf"\} [1-9]', text)
    assert "tadp_queue_length 0" in text


def test_images_that_wait_together_are_one_batch(server):
    _, port = server
    before = value(port, 'tadp_batch_size_bucket{le="1"}'), value(port, "tadp_batch_size_count")
    found = []

    def one(seed):
        found.append(ask(port, "POST", "/predict?caption=a", picture(128, 128, seed))[0])

    threads = [threading.Thread(target=one, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [200] * 8
    assert value(port, "tadp_batch_size_count") - before[1] < 8
    assert value(port, "tadp_batch_size_sum") >= 8


@pytest.mark.parametrize(
    ("path", "body", "status", "line"),
    [
        ("/predict?caption=a", picture()[:-500], 400, "no complete image"),
        ("/predict?caption=a", b"words", 400, "no image: send the bytes of a PNG, JPEG or WebP file"),
        ("/predict?caption=a", b"", 400, "no image"),
        ("/predict?caption=a", header_only(10000, 10000), 413, "10000x10000 pixels, the limit is 4 megapixels"),
        ("/predict?caption=a", header_only(99999, 99999), 413, "more pixels than can be decoded"),
        ("/predict?caption=a", b"\x89" * 3_000_000, 413, "more than 2 MB: send a smaller file"),
        ("/predict?caption=a&output=boxes", picture(), 400, "choose from mask, areas, overlay"),
        ("/predict?caption=a%20%3Cunknown%3E", picture(), 400, "unknown token '<unknown>'"),
    ],
)
def test_what_cannot_be_predicted_is_one_line(server, path, body, status, line):
    _, port = server
    found, output, _ = ask(port, "POST", path, body)
    assert (found, line in output.decode(), output.count(b"\n")) == (status, True, 1)


def test_a_body_that_is_said_to_be_far_too_large_is_not_waited_for(server):
    _, port = server
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.putrequest("POST", "/predict?caption=a")
    connection.putheader("Authorization", f"Bearer {KEY}")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    assert connection.getresponse().status == 413
    connection.close()


def test_without_the_key_nothing_is_predicted(server):
    _, port = server
    for given in ("", "Bearer ", "Bearer another", "Basic \xe4"):
        status, body, _ = ask(port, "POST", "/predict", picture(), Authorization=given)
        assert status == 401
        assert KEY not in body.decode()
        assert ask(port, "GET", "/metrics", Authorization=given)[0] == 401


def test_an_upload_that_ends_early_and_a_connection_that_is_closed(server):
    _, port = server
    head = f"POST /predict?caption=a HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\nContent-Length: "
    whole = picture()
    before = value(port, 'tadp_requests_total{status="499"}')
    for data in (f"{head}100000\r\n\r\n".encode() + whole, f"{head}{len(whole)}\r\n\r\n".encode() + whole[:100]):
        with socket.create_connection(("127.0.0.1", port)) as connection:
            connection.sendall(data)
    end = time.monotonic() + 30
    while value(port, 'tadp_requests_total{status="499"}') < before + 2 and time.monotonic() < end:
        time.sleep(0.05)
    assert value(port, 'tadp_requests_total{status="499"}') == before + 2
    assert ask(port, "POST", "/predict?caption=a", whole)[0] == 200


@pytest.mark.skipif(not hasattr(psutil, "RLIMIT_FSIZE"), reason="this system limits no files")
def test_no_disk_is_needed(server):
    """A limit of 0 bytes per file refuses writes as a full disk does."""
    process, port = server
    processes = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    limits = [each.rlimit(psutil.RLIMIT_FSIZE) for each in processes]
    try:
        for each, (_, hard) in zip(processes, limits, strict=True):
            each.rlimit(psutil.RLIMIT_FSIZE, (0, hard))
        assert ask(port, "POST", "/predict?caption=a", picture(300, 200))[0] == 200
    finally:
        for each, limit in zip(processes, limits, strict=True):
            each.rlimit(psutil.RLIMIT_FSIZE, limit)


def test_a_new_process_without_a_model_says_so():
    (answer,) = model.predict([Job(b"", None, "mask")])
    assert (answer.status, answer.body.count(b"\n")) == (503, 1)
    assert b"could not be loaded again" in answer.body


def test_the_load_test_counts_and_loses_nothing(server, tmp_path, monkeypatch, capsys):
    process, port = server
    (tmp_path / "a.png").write_bytes(picture())
    monkeypatch.setenv("TADP_SERVE_KEY", KEY)
    options = ["--requests", "6", "--clients", "1", "3", "--query", "caption=a", "--pid", str(process.pid)]
    monkeypatch.setattr(sys, "argv", ["serve.py", f"http://127.0.0.1:{port}", str(tmp_path / "a.png"), *options])
    load_test.main()
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[:3] for row in rows] == [["1", "6", "0"], ["3", "6", "0"]]


@pytest.mark.slow
def test_a_killed_worker_is_reported_and_replaced(server):
    process, port = server
    for child in psutil.Process(process.pid).children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.kill()
    status, body, headers = ask(port, "POST", "/predict?caption=a", picture())
    assert status == 503
    assert b"send the image again" in body
    assert headers["retry-after"] == "10"
    assert ask(port, "POST", "/predict?caption=a", picture())[0] == 200
    assert value(port, "tadp_worker_restarts_total") == 1


def test_stopping_answers_what_has_arrived(server):
    """The module's last: the server is gone after it."""
    process, port = server
    found = []
    ended = threading.Thread(target=lambda: found.append(ask(port, "POST", "/predict?caption=a", picture(64, 64))[0]))
    before = value(port, "tadp_batch_size_count")
    ended.start()
    while value(port, "tadp_batch_size_count") == before and ended.is_alive():
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    ended.join()
    process.wait(timeout=200)
    assert found == [200]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--queue", "0"), "--queue is 0, expected a number above 0"),
        (("--port", "70000"), "--port is 70000, expected 0 to 65535"),
    ],
)
def test_wrong_options_are_one_line(tmp_path, options, message):
    assert message in tadp("serve", tmp_path, *options, code=2)


def test_a_port_that_is_taken_is_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        output = tadp("serve", tmp_path, "--port", taken.getsockname()[1], code=1)
    assert "cannot listen on 127.0.0.1" in output
    assert "choose another --port" in output
