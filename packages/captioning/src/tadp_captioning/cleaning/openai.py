"""Removing the domain from captions by a language model, as in the paper (4.3), on any OpenAI-compatible server."""

import json
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from math import ceil
from pathlib import Path

from tadp_captioning.chat_api.answer_cache import AnswerCache, default_cache
from tadp_captioning.chat_api.answer_text import fenced
from tadp_captioning.chat_api.chat_model import ChatModel, Endpoint, UnfitAnswerError
from tadp_captioning.chat_api.cost import Estimate, Price, Spending, price_of
from tadp_captioning.cleaning.cleaner import Cleaned, RuleCleaner, what_changed
from tadp_captioning.domains import Domain, get_domain
from tadp_captioning.formats import tidy

_PROMPT = (
    "You edit captions of pictures. From each caption remove every mention of the picture itself, its style or medium "
    "(such as image, photo, depiction, portrayal, painting, drawing, watercolor, comic, cartoon){style}. Keep "
    "everything that says what can be seen: all objects, people, animals, places, numbers, colors and actions, in the "
    "caption's own words. Add nothing. If nothing else would be left, return the caption as it is. You get a JSON "
    "list of numbered captions; return exactly one item for each of them, with its number."
)
_SCHEMA = {
    "name": "captions",
    "strict": True,
    "schema": {
        "type": "object",
        "properties": {
            "captions": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {"number": {"type": "integer"}, "caption": {"type": "string"}},
                    "required": ["number", "caption"],
                    "additionalProperties": False,
                },
            }
        },
        "required": ["captions"],
        "additionalProperties": False,
    },
}
_FORM = ' Answer with JSON alone, in this form: {"captions": [{"number": 1, "caption": "..."}]}'
"""For servers that do not take the schema; no part of the prompt by which answers are kept."""
_UNFIT_TRIES = 8  # unfit answers in a row before giving up; a batch of 128 is halved to one by then
_ROOM_TOKENS = 64  # of an answer in addition to its captions
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 8.0


class OpenAICleaner:
    """Removes what names a domain, by asking a model for many captions at once.

    Each answer must have one item for each caption, or the batch is halved and sent again. Answers are kept
    in the file `cache` (None: in the user's cache folder), so a stopped run resumes. `max_usd` is
    never passed, by the count of tokens that the server reports: each request limits the length of its answer, and
    is only sent where the most that it can cost is left. A model without a known price needs `max_requests`. The key
    comes from the environment (see `Endpoint`).
    """

    def __init__(
        self,
        domain: str | Domain | None = None,
        *,
        endpoint: Endpoint | None = None,
        cache: Path | None = None,
        price: Price | None = None,
        max_usd: float = 1.0,
        max_requests: int | None = None,
        batch_size: int = 50,
        parallel: int = 4,
        progress: Callable[[int, int], None] | None = None,
    ):
        domain = get_domain(domain) if isinstance(domain, str) else domain
        self.prompt = _PROMPT.format(style=f', and every mention of the look "{domain.phrase}"' if domain else "")
        self.batch_size = batch_size
        self.parallel = parallel
        """Requests under way at a time."""
        self.progress = progress
        """Called with (different captions answered, all of them)."""
        self.endpoint = endpoint or Endpoint(model="gpt-4o-mini")
        self.name = f"openai:{self.endpoint.model}"
        self.spending = Spending(price_of(self.endpoint.model, price, max_requests), max_usd, max_requests)
        self._chat = ChatModel(self.endpoint)
        self._style_words = RuleCleaner(domain).style_words
        self._cache = AnswerCache(
            cache or default_cache(), base_url=self._chat.base_url, model=self.endpoint.model, prompt=self.prompt
        )

    def estimate(self, captions: Sequence[str]) -> Estimate:
        """What cleaning these captions will cost; nothing is sent."""
        batches = self._batches([tidy(caption) for caption in captions])
        tokens = [self._tokens(batch) for batch in batches]
        spent_in, spent_out = sum(t[0] for t in tokens), sum(t[1] for t in tokens)
        return Estimate(
            texts=sum(map(len, batches)),
            requests=len(batches),
            input_tokens=spent_in,
            output_tokens=spent_out,
            usd=None if self.spending.price is None else self.spending.usd(spent_in, spent_out),
        )

    def clean(self, captions: Sequence[str]) -> Cleaned:
        """One caption for each, in order; an estimate above the cap is refused before anything is sent."""
        before = [tidy(caption) for caption in captions]
        estimate = self.estimate(captions)
        limit = self.spending.max_requests
        if limit is not None and estimate.requests > limit:
            raise ValueError(
                f"cleaning {estimate.texts} captions takes {estimate.requests} requests, above the maximum of {limit}: "
                "raise --max-requests or clean fewer"
            )
        if estimate.usd is not None and estimate.usd > self.spending.cap_usd:
            raise ValueError(
                f"cleaning {estimate.texts} captions would cost about ${estimate.usd:.4f}, "
                f"above the cap of ${self.spending.cap_usd:.2f}: raise the cap or clean fewer"
            )
        self._ask_all(self._batches(before))
        after = [tidy(self._cache.get(caption) or "") or caption for caption in before]
        return what_changed(before, after, self._style_words)

    def _batches(self, captions: Sequence[str]) -> list[list[str]]:
        """Captions to send: each once, without those in the cache or without words."""
        new = [text for text in dict.fromkeys(captions) if text and self._cache.get(text) is None]
        return [new[i : i + self.batch_size] for i in range(0, len(new), self.batch_size)]

    def _ask_all(self, batches: list[list[str]]) -> None:
        total, done, stop = sum(map(len, batches)), 0, threading.Event()
        with ThreadPoolExecutor(self.parallel) as pool:
            waiting = [pool.submit(self._settle, batch, stop) for batch in batches]
            try:
                for finished in as_completed(waiting):
                    done += finished.result()
                    if self.progress is not None:
                        self.progress(done, total)
            finally:
                stop.set()  # after an error or Ctrl-C no further batch is paid for

    def _settle(self, batch: list[str], stop: threading.Event) -> int:
        """Ask until every caption of the batch has its answer in the cache; the number of captions."""
        pending, unfit = deque([batch]), 0
        while pending and not stop.is_set():
            texts = pending.popleft()
            try:
                self._cache.add(self._ask(texts))
                unfit = 0
            except UnfitAnswerError as error:
                unfit += 1
                if unfit == _UNFIT_TRIES:
                    raise RuntimeError(
                        f"model {self.endpoint.model!r}: {unfit} unusable answers in a row; the last error: {error}"
                    ) from None
                stop.wait(min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (unfit - 1)))
                half = ceil(len(texts) / 2)
                pending.extendleft(part for part in (texts[half:], texts[:half]) if part)
        return len(batch)

    def _ask(self, texts: list[str]) -> dict[str, str]:
        """One request; {caption: what the model made of it}."""
        most_in, most_out = self._most_tokens(texts)
        promised = self.spending.usd(most_in, most_out)
        self.spending.promise(promised)
        tokens = 0, 0
        try:
            answer = self._chat.ask(
                [{"role": "system", "content": self.prompt + _FORM}, {"role": "user", "content": _numbered(texts)}],
                response_format={"type": "json_schema", "json_schema": _SCHEMA},
                max_completion_tokens=most_out,
                temperature=0,
            )
            tokens = answer.input_tokens, answer.output_tokens
        finally:
            self.spending.settle(promised, *tokens)
        if answer.finish_reason == "length":
            raise UnfitAnswerError(f"cut at {most_out} tokens")
        return dict(zip(texts, read_captions(answer.text, len(texts)), strict=True))

    def _tokens(self, texts: list[str]) -> tuple[int, int]:
        """About how many tokens go in and come out for one batch."""
        bytes_in, bytes_out = self._bytes(texts)
        return ceil(bytes_in / 4), ceil(bytes_out / 4)

    def _most_tokens(self, texts: list[str]) -> tuple[int, int]:
        """What one batch cannot pass: no token is shorter than a byte, and the answer is cut at twice its estimate.

        Not at its bytes too: long captions would then ask for more than many models can answer (16384 tokens).
        """
        bytes_in, bytes_out = self._bytes(texts)
        return bytes_in, ceil(bytes_out / 2) + _ROOM_TOKENS

    def _bytes(self, texts: list[str]) -> tuple[int, int]:
        """What goes in and, the captions being left as they are, comes out."""
        length = len(_numbered(texts).encode())
        return len((self.prompt + _FORM).encode()) + len(json.dumps(_SCHEMA)) + length, length


def _numbered(texts: list[str]) -> str:
    items = [{"number": number, "caption": text} for number, text in enumerate(texts, start=1)]
    return json.dumps(items, ensure_ascii=False)


def read_captions(answer: str, count: int) -> list[str]:
    """The captions of an answer in the order of their numbers, which must be 1 to `count`, each once."""
    try:
        content = json.loads(fenced(answer))
        listed = content if isinstance(content, list) else content["captions"]
        items, length = {item["number"]: item["caption"] for item in listed}, len(listed)
    except (ValueError, KeyError, TypeError, RecursionError):
        raise UnfitAnswerError(f"not the JSON that was asked for but {answer[:60]!r}") from None
    if length != count or set(items) != set(range(1, count + 1)):
        raise UnfitAnswerError(f"{length} items for {count} captions")
    if not all(isinstance(caption, str) for caption in items.values()):
        raise UnfitAnswerError("an item without text")
    return [items[number] for number in range(1, count + 1)]
