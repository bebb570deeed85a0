"""The page behind an HTTP server of this machine: for one person, and pages of its own address alone."""

import io
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, quote, urlsplit

from tadp_captioning.images import read_image
from tadp_captioning.review.edits import CaptionReview
from tadp_captioning.review.page import review_page

logger = logging.getLogger(__name__)
HOST = "127.0.0.1"
_SIDE = 512
"""Longest side in pixels of an image on the page."""
_LONGEST = 100_000
"""Bytes of an edit."""
_POLICY = "default-src 'none'; img-src 'self'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"


def review_server(review: CaptionReview, port: int = 0) -> ThreadingHTTPServer:
    """The server, which listens; call its `serve_forever`. Port 0: one that is free."""

    class Handler(_Handler):
        of = review

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise OSError(f"cannot listen on {HOST}:{port} ({error.strerror}): choose another --port") from error


class _Handler(BaseHTTPRequestHandler):
    of: CaptionReview

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        asked = parse_qs(url.query)
        if not self._is_own():
            return
        if url.path == "/":
            number = _number(asked, self.of.pages)
            self._answer(review_page(self.of, number).encode("utf-8", "replace"), "text/html; charset=utf-8")
        elif url.path == "/image" and (image := self.of.image(asked.get("id", [""])[0])) is not None:
            self._send_image(image)
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        length = self.headers.get("Content-Length", "")
        if not self._is_own():
            return
        if not (length.isascii() and length.isdigit()):
            self.send_error(411)
            return
        if len(length) > 9 or int(length) > _LONGEST:
            self.send_error(413)
            return
        asked = parse_qs(self.rfile.read(int(length)).decode("utf-8", "replace"), keep_blank_values=True)
        image_id = asked.get("id", [""])[0]
        try:
            self.of.edit(image_id, asked.get("caption", [""])[0])
        except ValueError as error:
            self._answer(str(error).encode(), "text/plain; charset=utf-8", status=400)
            return
        self.send_response(303)
        self.send_header("Location", f"/?page={_number(asked, self.of.pages)}#{quote(image_id)}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        logger.debug(format, *args)

    def _is_own(self) -> bool:
        """403 for another site's page, or a name that another site had resolve to this machine."""
        port = cast(ThreadingHTTPServer, self.server).server_port
        own = {f"{name}:{port}" for name in (HOST, "localhost")}
        origin = self.headers.get("Origin")
        if self.headers.get("Host") in own and (origin is None or urlsplit(origin).netloc in own):
            return True
        self.send_error(403)
        return False

    def _send_image(self, image: Any) -> None:
        read = read_image("", image)
        if read.image is None:
            self.send_error(404)
            return
        read.image.thumbnail((_SIDE, _SIDE))
        buffer = io.BytesIO()
        read.image.save(buffer, "JPEG")
        self._answer(buffer.getvalue(), "image/jpeg")

    def _answer(self, content: bytes, kind: str, status: int = 200) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.end_headers()
        self.wfile.write(content)


def _number(asked: dict[str, list[str]], pages: int) -> int:
    """The page that is asked for, counted from 1; of what is none, the first."""
    text = asked.get("page", ["1"])[0]
    return min(pages, max(1, int(text))) if text.isascii() and text.isdigit() and len(text) < 9 else 1
