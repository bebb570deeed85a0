"""What asking a paid model costs: estimated before, counted on the way, stopped at a cap."""

import threading
from dataclasses import dataclass
from typing import NamedTuple


class Price(NamedTuple):
    """US dollars for a million tokens."""

    input_usd: float
    output_usd: float

    def usd(self, input_tokens: float, output_tokens: float) -> float:
        """Cost of that many tokens."""
        return (input_tokens * self.input_usd + output_tokens * self.output_usd) / 1e6


PRICES: dict[str, Price] = {
    "gpt-4o-mini": Price(0.15, 0.60),
    "gpt-4o": Price(2.50, 10.00),
    "gpt-4.1-nano": Price(0.10, 0.40),
    "gpt-4.1-mini": Price(0.40, 1.60),
    "gpt-4.1": Price(2.00, 8.00),
}
"""OpenAI's list prices as of 2025; a price given by the caller goes before."""


def price_of(model: str, price: Price | None, max_requests: int | None = None) -> Price | None:
    """The price given, else the table's; None for a model without one, which only a limit of requests allows."""
    if price is not None:
        return price
    if model not in PRICES and max_requests is None:
        raise ValueError(
            f"no price is known for model {model!r} (known: {', '.join(PRICES)}): "
            "give dollars for a million input and output tokens, 0 and 0 for a server of your own (--price 0,0), "
            "or a maximum number of requests (--max-requests)"
        )
    return PRICES.get(model)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What is still to be paid, roughly: four bytes count as a token."""

    texts: int
    """Different texts to be sent; what a cache holds is not among them."""
    requests: int
    input_tokens: int
    output_tokens: int
    usd: float | None
    """None where the model's price is not known."""


class Spending:
    """Dollars spent and promised to requests under way; never lets them pass the cap. For several threads.

    A promise is the most that a request can cost, so it is mostly far above what is spent then. Requests are counted
    too: no more than `max_requests` are made (those that the SDK tries again after a failure count as one).
    """

    def __init__(self, price: Price | None, cap_usd: float, max_requests: int | None = None):
        self.price = price
        """None: not known, and counted as nothing."""
        self.cap_usd = cap_usd
        self.max_requests = max_requests
        self.spent_usd = 0.0
        self.requests = 0
        self._promised: list[float] = []
        self._settled = threading.Condition()

    def usd(self, input_tokens: float, output_tokens: float) -> float:
        """Cost of that many tokens; 0 where no price is known."""
        return self.price.usd(input_tokens, output_tokens) if self.price is not None else 0.0

    def promise(self, usd: float) -> None:
        """Before a request that may cost this much; waits where requests under way may leave enough for it."""
        with self._settled:
            if self.max_requests is not None and self.requests >= self.max_requests:
                raise RuntimeError(
                    f"stopped after {self.requests} requests, the maximum; answers so far are kept, raise "
                    "--max-requests to continue"
                )
            self._settled.wait_for(lambda: self._fits(usd) or not self._promised)
            if not self._fits(usd):
                raise RuntimeError(
                    f"stopped before the cap of ${self.cap_usd:.4f}: ${self.spent_usd:.4f} is spent and the next "
                    f"request may cost ${usd:.4f}; answers so far are kept, raise the cap to continue"
                )
            self.requests += 1
            self._promised.append(usd)

    def settle(self, usd: float, input_tokens: int, output_tokens: int) -> None:
        """After the request for which `usd` was promised: the tokens that it really took."""
        with self._settled:
            self._promised.remove(usd)
            self.spent_usd += self.usd(input_tokens, output_tokens)
            self._settled.notify_all()

    def _fits(self, usd: float) -> bool:
        return self.spent_usd + sum(self._promised) + usd <= self.cap_usd
