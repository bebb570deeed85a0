"""Options that the `tadp captions` commands share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from tadp_captioning import Domain

FileArgument = Annotated[
    Path,
    typer.Argument(help="captions: .jsonl, the paper's .json, .csv, .parquet, or a folder of .txt files"),
]
OutFile = Annotated[Path, typer.Option("--out", help="file to write, in the format of its suffix")]
DomainOption = Annotated[str | None, typer.Option(help="target domain of the table, e.g. watercolor, comic, night")]
PhraseOption = Annotated[str | None, typer.Option(help="a domain in words, e.g. 'pencil sketch' or 'thermal photo'")]
SplitOption = Annotated[str | None, typer.Option(help="split of the data set; none: all of it")]


def chosen_domain(domain: str | None, phrase: str | None) -> "Domain":
    """The domain that exactly one of the two options names."""
    from tadp_captioning import domain_from_phrase, get_domain

    if domain is not None and phrase is None:
        return get_domain(domain)
    if phrase is not None and domain is None:
        return domain_from_phrase(phrase)
    raise ValueError("name the domain with either --domain (of the table) or --domain-phrase (in words)")
