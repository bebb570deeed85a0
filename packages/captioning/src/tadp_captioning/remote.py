"""One question to a chat model behind an OpenAI-compatible server: its failures become one line, without the key."""

import json
import os
import re
from dataclasses import dataclass
from typing import Any, NamedTuple

_KEY = "OPENAI_API_KEY"
_ASKED_AGAIN = (408, 409, 429)  # by the SDK, as 5xx are; no other status changes by asking again


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where to ask. The key is only ever read from the environment variable OPENAI_API_KEY."""

    model: str
    base_url: str | None = None
    """Of a compatible server, e.g. "http://localhost:8000/v1"; None: OPENAI_BASE_URL, else OpenAI's own."""
    timeout_s: float = 60.0
    """Seconds to wait for an answer before asking again."""
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


class ChatModel:
    """Asks the model of an endpoint; may be used by several threads."""

    def __init__(self, endpoint: Endpoint):
        from openai import OpenAI

        self.endpoint = endpoint
        key = os.environ.get(_KEY)
        elsewhere = endpoint.base_url or os.environ.get("OPENAI_BASE_URL")
        if not key and not elsewhere:
            raise ValueError(f"no API key: set the environment variable {_KEY}, or name a server with base_url")
        # Servers of one's own mostly want no key, but the SDK wants one to send.
        self._client = OpenAI(
            api_key=key or "none",
            base_url=endpoint.base_url,
            timeout=endpoint.timeout_s,
            max_retries=endpoint.retries,
        )

    @property
    def base_url(self) -> str:
        """Of the server that is asked, wherever it was named."""
        return str(self._client.base_url)

    def ask(self, messages: list[dict[str, Any]], **options: Any) -> Answer:
        """Options are those of chat completions, e.g. `response_format`.

        What asking again cannot help is a ValueError, what stays wrong after all tries a RuntimeError.
        """
        import openai

        try:
            response = self._client.chat.completions.with_raw_response.create(
                model=self.endpoint.model, messages=messages, **options
            )
        except openai.APIStatusError as error:
            reason = f"HTTP {error.status_code}: {_message(error)}"
            if error.status_code < 500 and error.status_code not in _ASKED_AGAIN:
                raise ValueError(self._say(reason)) from None
            raise RuntimeError(self._say(f"{reason} (tried {self.endpoint.retries + 1} times)")) from None
        except openai.APIConnectionError as error:
            reason = f"{error} {error.__cause__ or ''} (tried {self.endpoint.retries + 1} times)"
            raise RuntimeError(self._say(reason)) from None
        return read_answer(response.http_response.text)

    def _say(self, reason: str) -> str:
        """One line that names model and server and holds no key, even where the server sent it back."""
        key = os.environ.get(_KEY)
        reason = re.sub(r"\bsk-[\w*.-]+", "sk-***", reason.replace(key, "***") if key else reason)
        where = f"model {self.endpoint.model!r} at {self._client.base_url.host}"
        return f"{where}: {' '.join(reason.split())[:300]}"


def read_answer(body: str) -> Answer:
    """The text of a chat completion's body; anything else is unfit."""
    try:
        content = json.loads(body)
        choice = content["choices"][0]
        text = choice["message"]["content"]
        usage = content.get("usage") or {}
    except (ValueError, KeyError, IndexError, TypeError, AttributeError):
        raise UnfitAnswerError(f"no chat completion but {body[:60]!r}") from None
    if not isinstance(text, str | None):
        raise UnfitAnswerError(f"no text but {str(text)[:60]!r}")
    tokens = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0  # some servers send null
    return Answer(text or "", choice.get("finish_reason") or "", *tokens)


def _message(error: Any) -> str:
    """The server's own words where it has some."""
    body = error.body
    return str(body.get("message") or body) if isinstance(body, dict) else str(body or error.message)
