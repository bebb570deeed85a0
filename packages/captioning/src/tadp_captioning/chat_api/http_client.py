"""HTTP whose limits no server can stretch: seconds to the last byte, not between two bytes, and bytes of an answer."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import import_module
from threading import Thread
from typing import Any

MAX_BYTES = 4 * 2**20
"""Of an answer, decompressed; a long one has some ten thousand."""


@dataclass(kw_only=True)
class Tries:
    """Requests that one question takes."""

    last_start: float
    """Value of `time.monotonic` after which no further one is sent."""
    count: int = 0


TRIES: ContextVar[Tries] = ContextVar("TRIES")
"""Of this thread's request."""


def limited_client(seconds: float, *, local: bool = False) -> Any:
    """A client for the OpenAI SDK, which asks again after what this raises for an answer beyond the limits.

    `local`: the server runs on this machine, where no proxy leads.
    """
    from openai import APITimeoutError, DefaultHttpxClient

    http = import_module(DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])  # httpx, or since 3.0 httpx2

    class LimitedClient(DefaultHttpxClient):
        def send(self, request: Any, **options: Any) -> Any:
            tries, send = TRIES.get(), super().send
            if time.monotonic() > tries.last_start:
                raise APITimeoutError(request=request)
            tries.count += 1
            try:
                return _in_time(lambda: _whole(send(request, **options | {"stream": True}), seconds, http), seconds)
            except TimeoutError:
                raise http.ReadTimeout(f"no complete answer within {seconds:g} s", request=request) from None

    try:
        return LimitedClient(trust_env=not local)
    except ImportError as error:  # a proxy of SOCKS wants a further package
        raise ValueError(f"the environment names a proxy: {error}") from error


def _in_time(work: Callable[[], Any], seconds: float) -> Any:
    """The result of `work`, or TimeoutError: then its thread, hanging in a socket, is left behind."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    Thread(target=run, daemon=True).start()
    return future.result(timeout=seconds)


def _whole(response: Any, seconds: float, http: Any) -> Any:
    """The response with its body read, which ends where the body is too large or nobody waits for it any more."""
    body, end = bytearray(), time.monotonic() + seconds
    try:
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > MAX_BYTES:
                raise http.ReadError(f"an answer of more than {MAX_BYTES} bytes", request=response.request)
            if time.monotonic() > end:
                raise TimeoutError
    finally:
        response.close()
    coded = ("content-encoding", "content-length", "transfer-encoding")
    headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in coded]
    return http.Response(response.status_code, headers=headers, content=bytes(body), request=response.request)
