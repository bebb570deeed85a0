"""A chat server that answers as many requests at once as come."""

import base64
import hashlib
import json
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Crowd:
    """Answers each request after `delay_s`; counts those under way, and how often each image was asked for."""

    def __init__(self, delay_s: float = 0.2, at_once: int = 64):
        self.now = self.most = self.answered = 0
        self.limit: int | None = None
        """Answers after which the key is refused."""
        self.images: Counter[str] = Counter()
        lock, crowd = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    crowd.now += 1
                    crowd.most = max(crowd.most, crowd.now)
                time.sleep(delay_s)
                with lock:
                    crowd.now -= 1
                    crowd.answered += 1
                    crowd.images[_image_of(request)] += 1
                    refused = crowd.limit is not None and crowd.answered > crowd.limit
                choice = {"message": {"role": "assistant", "content": "an image"}, "finish_reason": "stop"}
                body = json.dumps({"choices": [choice], "model": "toy"}).encode()
                self.send_response(401 if refused else 200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 2 * at_once
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.base_url = f"http://127.0.0.1:{self.server.server_port}/v1"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


def _image_of(request: dict) -> str:
    url = request["messages"][0]["content"][-1]["image_url"]["url"]
    return hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest()[:16]
