"""Options of commands that learn a domain on the way."""

from typing import Annotated, Any

import typer

LearnSplitOption = Annotated[
    str,
    typer.Option(
        help="split of the target that its domain is learned from; empty: train, or all that is not evaluated"
    ),
]
CountOption = Annotated[
    int | None, typer.Option(min=0, help="images that a domain is learned from, drawn at random; 0: all")
]
RankOption = Annotated[
    int | None, typer.Option(min=1, help="dreambooth: train a LoRA of this rank, not the whole UNet")
]
PresetOption = Annotated[
    str, typer.Option(help="settings of the personalization by name, as of `tadp personalize`; empty: the recipe's")
]
DomainPhraseOption = Annotated[
    str, typer.Option(help="name for images of a domain outside the table, e.g. 'dusk photo'")
]
InitWordOption = Annotated[
    str, typer.Option(help="word whose embedding initialises the token; empty: chosen from the domain")
]


def personalize_changes(
    count: int | None, rank: int | None, preset: str, split: str = "", init_word: str = ""
) -> dict[str, Any]:
    """The options that were given, as a recipe's settings."""
    given = {"count": count, "rank": rank, "preset": preset or None, "split": split or None}
    given["init_word"] = init_word or None
    return {f"personalize.{name}": value for name, value in given.items() if value is not None}
