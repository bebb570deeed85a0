"""Who may ask: pages of this server alone, under the names of this machine."""

from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; media-src 'self' data: blob:; connect-src 'self'; "
    "worker-src 'self' blob:; frame-ancestors 'none'; form-action 'self'; base-uri 'self'"
)
"""A browser asks nobody but this server, whatever a caption or a library holds."""


class SameOrigin:
    """ASGI middleware: 403 for another site's page, or a name that another site had resolve to this machine."""

    def __init__(self, app: Callable[..., Awaitable[None]], host: str):
        self.app = app
        self.hosts = _LOOPBACK if host in _LOOPBACK else None
        """None: listens for other machines, under names that are not known here."""

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        if scope["type"] not in ("http", "websocket"):
            return await self.app(scope, receive, send)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        if not self._allowed(headers):
            body = b"refused, since the request comes from another site: open the address that tadp app printed\n"
            start = [(b"content-type", b"text/plain"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 403, "headers": start})
            await send({"type": "http.response.body", "body": body})
            return None

        async def with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                own = [(b"content-security-policy", _POLICY.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message["headers"], *own]}
            await send(message)

        return await self.app(scope, receive, with_policy)

    def _allowed(self, headers: dict[str, str]) -> bool:
        host, origin = headers.get("host", ""), headers.get("origin")
        if self.hosts is not None and urlsplit(f"//{host}").hostname not in self.hosts:
            return False
        if "x-forwarded-host" in headers and self.hosts is not None:
            return False
        return origin is None or urlsplit(origin).netloc == host
