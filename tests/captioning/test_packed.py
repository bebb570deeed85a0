"""Images inside tar archives and parquet tables, captioned behind a server that answers many requests at once."""

import io
import json
import tarfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from tadp_captioning import CaptionStore, caption_images, load_captioner
from tadp_captioning.archives.images import is_packed, packed_images

AT_ONCE = 64


def jpeg(number: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (8 + number % 50, 8), (number % 256, number // 256, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path, numbers):
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            for suffix, content in (("png", jpeg(number)), ("json", b"{}")):
                member = tarfile.TarInfo(f"part/{number:06d}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return path


class Crowd:
    """A chat server that answers as many requests at once as come, each after a while; it counts them."""

    def __init__(self):
        self.now = self.most = self.answered = 0
        self.limit = None
        lock = threading.Lock()
        crowd = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                with lock:
                    crowd.now += 1
                    crowd.most = max(crowd.most, crowd.now)
                time.sleep(0.2)
                with lock:
                    crowd.now -= 1
                    crowd.answered += 1
                    refused = crowd.limit is not None and crowd.answered > crowd.limit
                body = json.dumps(
                    {"choices": [{"message": {"content": "an image"}, "finish_reason": "stop"}], "model": "toy"}
                ).encode()
                self.send_response(401 if refused else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 2 * AT_ONCE
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"


@pytest.fixture
def crowd():
    server = Crowd()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_tar_is_captioned_stopped_and_resumed_with_none_twice_and_none_lost(crowd, tmp_path):
    """The first run ends in the middle: the server refuses the key. 64 requests are under way at a time, no more."""
    shards = [
        str(shard(tmp_path / f"{name}.tar", numbers)) for name, numbers in (("a", range(150)), ("b", range(150, 260)))
    ]
    images = packed_images([str(tmp_path / "*.tar")])
    assert next(iter(images)) == "part/000000"
    assert len(images) == 260
    store = CaptionStore.open(tmp_path / "captions.jsonl")
    captioner = load_captioner("openai:toy", base_url=crowd.base_url, batch_size=AT_ONCE)
    crowd.limit = 150
    with pytest.raises(ValueError, match="401"):
        caption_images(captioner, images, store)
    done = len(store)
    assert 0 < done < 260
    crowd.limit = None
    again = CaptionStore.open(tmp_path / "captions.jsonl")
    report = caption_images(captioner, packed_images(shards), again)
    assert (report.captioned, report.skipped, report.failed) == (260 - done, done, {})
    lines = [json.loads(line)["id"] for line in (tmp_path / "captions.jsonl").read_text().splitlines()]
    assert sorted(lines) == sorted(images)
    assert 8 < crowd.most <= AT_ONCE


def test_a_parquet_table_of_images_is_read_and_captions_are_written_as_one(tmp_path):
    pytest.importorskip("pyarrow")
    import pyarrow.parquet

    rows = [{"id": f"n{number}.png", "image": {"bytes": jpeg(number), "path": None}} for number in range(5)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "images.parquet", row_group_size=2)
    images = packed_images([str(tmp_path / "images.parquet")])
    assert list(images) == ["n0", "n1", "n2", "n3", "n4"]
    assert images["n3"].read_bytes() == jpeg(3)
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"jpg": jpeg(1)}, {"jpg": None}]), tmp_path / "bare.parquet")
    bare = packed_images([str(tmp_path / "bare.parquet")])
    assert list(bare) == ["bare_00000000", "bare_00000001"]
    with pytest.raises(ValueError, match="no bytes"):
        bare["bare_00000001"].read_bytes()


def test_what_cannot_be_read_is_told(tmp_path):
    with pytest.raises(ValueError, match=r"unpack it to a plain \.tar"):
        is_packed(["a.tar.gz"])
    with pytest.raises(ValueError, match="name archives and tables alone"):
        is_packed(["a.tar", "photos/"])
    assert not is_packed(["photos/"])
    (tmp_path / "broken.tar").write_text("no archive at all" * 99)
    with pytest.raises(ValueError, match="not a whole tar archive"):
        packed_images([str(tmp_path / "broken.tar")])
    with pytest.raises(ValueError, match="no such archive"):
        packed_images([str(tmp_path / "none.tar")])
    shard(tmp_path / "one.tar", range(2))
    shard(tmp_path / "two.tar", range(2))
    assert list(packed_images([str(tmp_path / "one.tar"), str(tmp_path / "two.tar")]))[:1] == ["one/part/000000"]
