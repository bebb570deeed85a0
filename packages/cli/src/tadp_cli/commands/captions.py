"""`tadp captions ...`: what is done to captions, file in, file out."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.progress import console

captions_app = typer.Typer(help="What is done to captions, file in, file out.", no_args_is_help=True)

FileArgument = Annotated[Path, typer.Argument(help="captions, JSON Lines or the paper's JSON")]
OutFile = Annotated[Path, typer.Option("--out", help="file to write")]
DomainOption = Annotated[str, typer.Option(help="target domain, e.g. watercolor, comic, night")]


@captions_app.command("clean")
def clean(file: FileArgument, out: OutFile, domain: DomainOption) -> None:
    """Remove the words that name the domain's style or medium, keep the content (paper 4.3).

    Example: `tadp captions clean target.jsonl --domain watercolor --out target_clean.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, RuleCleaner, clean_store

        store = CaptionStore.read(file)
        cleaned, report = clean_store(store, RuleCleaner(domain))
        cleaned.write(out)
        console.print(f"{report.changed} of {len(store)} captions changed, {report.residual} still name a style: {out}")


@captions_app.command("modify")
def modify_captions(
    file: FileArgument,
    out: OutFile,
    domain: DomainOption,
    modifier: Annotated[str, typer.Option(help="null, simple, textual-inversion, dreambooth, nearby or unrelated")],
) -> None:
    """Put the domain's look into each caption.

    Example: `tadp captions modify source.jsonl --domain watercolor --modifier simple --out prompts.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, get_domain, modify

        get_domain(domain)
        store = CaptionStore.read(file)
        rows = [record.with_caption(modify(record.caption, domain, modifier)) for record in store.records()]
        CaptionStore(rows).write(out)
        console.print(f"{len(rows)} captions: {out}")
