"""From a name to a cleaner: "rules", or "openai:MODEL" of an OpenAI-compatible server."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tadp_captioning.chat_api.chat_model import Endpoint
from tadp_captioning.chat_api.cost import Price
from tadp_captioning.cleaning.cleaner import Cleaner, RuleCleaner
from tadp_captioning.cleaning.openai import OpenAICleaner
from tadp_captioning.domains import Domain

RULES = "rules"
PREFIX = "openai:"


@dataclass(frozen=True, kw_only=True)
class CleaningLimits:
    """Endpoint and spending limits of a model; the rules need none."""

    price: Price | None = None
    """US dollars for a million tokens; None: the price that is known for the model."""
    max_usd: float = 1.0
    max_requests: int | None = None
    """Maximum number of requests; with it, a model of unknown price is allowed."""
    base_url: str | None = None
    """Of a compatible server; None: OPENAI_BASE_URL, else OpenAI's own."""
    cache: Path | None = None
    """File of answers; None: in the user's cache folder."""


NO_LIMITS_GIVEN = CleaningLimits()


def check_cleaner(name: str) -> None:
    """Raise unless `name` is that of a cleaner."""
    if name != RULES and not (name.startswith(PREFIX) and name != PREFIX):
        raise ValueError(f"unknown cleaner {name!r}; choose rules, or openai:MODEL, e.g. openai:gpt-4o-mini")


def load_cleaner(
    name: str,
    domain: str | Domain | None,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Cleaner:
    """The cleaner of this name ("rules", "openai:MODEL") for a domain, or every domain of the table where that is None.

    ValueError for an unknown name, and for a model without a price or a maximum of requests.
    """
    check_cleaner(name)
    if name == RULES:
        return RuleCleaner(domain)
    return OpenAICleaner(
        domain,
        endpoint=Endpoint(model=name.removeprefix(PREFIX), base_url=limits.base_url),
        cache=limits.cache,
        price=limits.price,
        max_usd=limits.max_usd,
        max_requests=limits.max_requests,
        progress=progress,
    )
