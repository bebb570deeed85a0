"""One question to a chat model behind an OpenAI-compatible server: its failures become one line, without the key."""

import json
import logging
import math
import os
import re
import time
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tadp_captioning.chat_api.api_key import KEY_VARIABLE, read_key, without_key, without_keys
from tadp_captioning.chat_api.http_client import TRIES, Tries, limited_client
from tadp_captioning.text_files import writable

logger = logging.getLogger(__name__)

_REFUSES = (400, 422)  # a parameter, among other things
_IN_PLACE_OF = {"max_completion_tokens": "max_tokens"}
"""What servers that do not know a parameter call it."""
_MOST_TOKENS = 10**9
_ASKED_AGAIN = (408, 409, 429)  # by the SDK, as 5xx are; no other status changes by asking again


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """An endpoint. The key is only ever read from the environment variable OPENAI_API_KEY."""

    model: str
    base_url: str | None = None
    """Of a compatible server, e.g. "http://localhost:8000/v1"; None: OPENAI_BASE_URL, else OpenAI's own."""
    timeout_s: float = 60.0
    """Seconds to wait for a whole answer before asking again."""
    total_s: float = 300.0
    """Seconds after which an unanswered request is not repeated."""
    retries: int = 6
    """Further tries after 408, 409, 429, 5xx, a cut connection or a timeout; they wait as long as Retry-After says
    (up to two minutes), or else twice as long each time (0.5 to 8 s)."""


class Answer(NamedTuple):
    """What a model said, and the tokens that are paid for (0 where the server doesn't count them)."""

    text: str
    finish_reason: str
    input_tokens: int
    output_tokens: int


class UnfitAnswerError(Exception):
    """An answer that came but cannot be used; asking again may help."""

    def __init__(self, reason: str):
        super().__init__(without_keys(reason))


class ChatModel:
    """Asks the model of an endpoint; may be used by several threads."""

    def __init__(self, endpoint: Endpoint):
        from openai import OpenAI

        self.endpoint = endpoint
        key = read_key()
        elsewhere = endpoint.base_url or os.environ.get("OPENAI_BASE_URL")
        if not key and not elsewhere:
            raise ValueError(f"no API key: set the environment variable {KEY_VARIABLE}, or name a server with base_url")
        if elsewhere:
            _check_url(elsewhere)
        # Servers of one's own mostly want no key, but the SDK wants one to send.
        self._client = OpenAI(
            api_key=key or "none",
            base_url=endpoint.base_url,
            timeout=endpoint.timeout_s,
            max_retries=endpoint.retries,
            http_client=limited_client(endpoint.timeout_s, local=_is_local(elsewhere or "")),
        )
        self._refused: set[str] = set()
        """Parameters that this model or server does not take."""

    @property
    def base_url(self) -> str:
        """Of the server that is asked, wherever it was named."""
        return str(self._client.base_url)

    def ask(self, messages: list[dict[str, Any]], **options: Any) -> Answer:
        """Options are those of chat completions, e.g. `response_format`. One that the server refuses by name is left
        out from then on, or takes the name that older servers know; the limit of tokens is never left out.

        What asking again cannot help is a ValueError, what stays wrong after all tries a RuntimeError.
        """
        import openai

        taken, tries = self._taken(options), Tries(last_start=time.monotonic() + self.endpoint.total_s)
        TRIES.set(tries)
        try:
            request: dict[str, Any] = {"model": self.endpoint.model, "messages": messages, **taken}
            response = self._client.chat.completions.with_raw_response.create(**request)
        except openai.APIStatusError as error:
            reason = f"HTTP {error.status_code}: {_message(error)}"
            refused = _refused_parameter(error, taken)
            if refused is not None:
                logger.info("%s: asked without %s, which it refuses", self.endpoint.model, refused)
                self._refused.add(refused)
                return self.ask(messages, **options)
            if error.status_code < 500 and error.status_code not in _ASKED_AGAIN:
                raise ValueError(self._say(reason)) from None
            raise RuntimeError(self._say(reason, f" (tried {tries.count} times)")) from None
        except openai.APIConnectionError as error:
            reason = f"{error} {error.__cause__ or ''}"
            raise RuntimeError(self._say(reason, f" (tried {tries.count} times)")) from None
        return read_answer(response.http_response.text)

    def _taken(self, options: dict[str, Any]) -> dict[str, Any]:
        """The options without those refused, under the other name where there is one."""
        taken = {}
        for name, value in options.items():
            name = _IN_PLACE_OF.get(name, name) if name in self._refused else name
            if name not in self._refused:
                taken[name] = value
        return taken

    def _say(self, reason: str, note: str = "") -> str:
        """One line that names model and server and holds no key, even where the server sent it back."""
        where = f"model {self.endpoint.model!r} at {self._client.base_url.host}"
        return f"{where}: {' '.join(without_keys(reason).split())[:300]}{note}"


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _check_url(url: str) -> None:
    """Refuse what no request can be sent to."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").encode("idna")
    except ValueError:  # also of the codec
        host = b""
    if not host or parts.scheme not in ("http", "https") or not url.isprintable():
        shown = re.sub(r"//.*@", "//***@", url)
        raise ValueError(f"the server's address {shown!r} is none: expected one such as http://localhost:8000/v1")


def _refused_parameter(error: Any, options: dict[str, Any]) -> str | None:
    """The option that the server's error names, the longest where one name is part of another's."""
    limits = _IN_PLACE_OF.values()
    named = [name for name in options if name in str(error.body or error.message) and name not in limits]
    return max(named, key=len, default=None) if error.status_code in _REFUSES else None


def read_answer(body: str) -> Answer:
    """The text of a chat completion's body; anything else is unfit."""
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        text = _text_of(choice["message"].get("content"))
        usage = content.get("usage")
        reason = choice.get("finish_reason")
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise UnfitAnswerError(f"no chat completion but {_beginning(body)}") from None
    if not isinstance(text, str | None):
        raise UnfitAnswerError(f"no text but {_beginning(str(text))}")
    tokens = (_tokens(usage, name) for name in ("prompt_tokens", "completion_tokens"))
    return Answer(writable(without_key(text or "")), writable(without_key(str(reason or "")[:80])), *tokens)


def _beginning(text: str) -> str:
    return repr(without_keys(text[:2000])[:60])


def _tokens(usage: Any, name: str) -> int:
    """A count of tokens; 0 where there is none, as some servers send null or no object at all."""
    count = usage.get(name) if isinstance(usage, dict) else None
    if isinstance(count, bool) or not isinstance(count, int | float) or not math.isfinite(min(count, _MOST_TOKENS)):
        return 0
    return max(0, int(min(count, _MOST_TOKENS)))


def _text_of(content: Any) -> Any:
    """The texts of a content that comes in parts, of which some are thoughts; other content unchanged."""
    if not isinstance(content, list):
        return content
    return "".join(part["text"] for part in content if part.get("type") == "text")


def _message(error: Any) -> str:
    """The server's own words where it has some."""
    body = error.body
    return str(body.get("message") or body) if isinstance(body, dict) else str(body or error.message)
