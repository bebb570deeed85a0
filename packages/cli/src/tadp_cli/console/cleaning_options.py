"""Options of commands that remove the words for a domain from captions."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tadp_captioning import CleaningLimits

CleanerOption = Annotated[
    str,
    typer.Option(help="removes the words for the domain from captions: rules, or openai:MODEL; empty: the recipe's"),
]
BaseUrlOption = Annotated[str | None, typer.Option(help="openai: a compatible server, e.g. http://localhost:8000/v1")]
PriceOption = Annotated[str | None, typer.Option(help="openai: dollars for a million tokens IN,OUT (own server: 0,0)")]
MaxUsdOption = Annotated[float, typer.Option(help="openai: maximum cost in dollars")]
MaxRequestsOption = Annotated[
    int | None, typer.Option(min=1, help="openai: maximum number of requests; allows models of unknown price")
]


def cleaning_limits(
    base_url: str | None, price: str | None, max_usd: float, max_requests: int | None
) -> "CleaningLimits":
    """The limits that the options give."""
    from tadp_captioning import CleaningLimits
    from tadp_captioning.chat_api.cost import Price

    parsed = None if price is None else Price(*_dollars(price))
    return CleaningLimits(base_url=base_url, price=parsed, max_usd=max_usd, max_requests=max_requests)


def _dollars(price: str) -> tuple[float, float]:
    try:
        into, out = map(float, price.split(","))
    except ValueError:
        raise ValueError(f"--price {price!r}: expected two numbers, e.g. 0.15,0.60") from None
    return into, out
