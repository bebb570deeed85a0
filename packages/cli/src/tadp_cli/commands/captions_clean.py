"""`tadp captions clean`: style words out of captions, by rules or by a language model."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.commands.captions_options import FileArgument, OutFile, PhraseOption, chosen_domain
from tadp_cli.errors import one_line_errors
from tadp_cli.progress import bars, console


def clean(
    file: FileArgument,
    out: OutFile,
    domain: Annotated[
        str | None, typer.Option(help="target domain of the table, e.g. watercolor, comic, night; all: every one")
    ] = None,
    domain_phrase: PhraseOption = None,
    cleaner: Annotated[str, typer.Option(help="rules (offline) or openai (key: OPENAI_API_KEY)")] = "rules",
    model: Annotated[str, typer.Option(help="openai: the model asked")] = "gpt-4o-mini",
    base_url: Annotated[
        str | None, typer.Option(help="openai: a compatible server, e.g. http://localhost:8000/v1")
    ] = None,
    price: Annotated[
        str | None, typer.Option(help="openai: dollars for a million tokens IN,OUT (own server: 0,0)")
    ] = None,
    max_usd: Annotated[float, typer.Option(help="openai: most dollars spent; 0 shows the estimate and ends")] = 1.0,
    cache: Annotated[Path | None, typer.Option(help="openai: file of answers paid for; none: in ~/.cache/tadp")] = None,
) -> None:
    """Remove the words that name the domain's style or medium, keep the content (paper 4.3).

    Example: `tadp captions clean target.jsonl --domain watercolor --out target_clean.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, Endpoint, OpenAICleaner, RuleCleaner, clean_store
        from tadp_captioning.spending import Price

        look = None if domain == "all" else chosen_domain(domain, domain_phrase)
        if look is None and cleaner != "rules":
            raise ValueError(f"--domain all removes the words of every domain by rules: leave --cleaner {cleaner} out")
        if cleaner not in ("rules", "openai"):
            raise ValueError(f"unknown cleaner {cleaner!r}; choose rules or openai")
        store = CaptionStore.read(file)
        with bars() as report:
            if cleaner == "rules":
                worker = RuleCleaner(look)
            else:
                worker = OpenAICleaner(
                    look,
                    endpoint=Endpoint(model=model, base_url=base_url),
                    cache=cache,
                    price=Price(*_dollars(price)) if price else None,
                    max_usd=max_usd,
                    progress=lambda done, total: report("clean", done, total),
                )
                cost = worker.estimate([record.caption for record in store.records()])
                console.print(f"{cost.texts} texts to ask in {cost.requests} requests, about ${cost.usd:.4f}")
                if max_usd == 0:
                    return
            cleaned, changes = clean_store(store, worker)
        cleaned.write(out)
        if cleaner == "openai":
            console.print(f"spent ${worker.spending.spent_usd:.4f}")
        left = ", ".join(f"{word} {count}" for word, count in changes.residues.most_common(5))
        console.print(
            f"{changes.changed} of {len(store)} captions changed, {changes.residual} still name a style"
            f"{f' ({left})' if left else ''}: {out}",
            markup=False,
        )


def _dollars(price: str) -> tuple[float, float]:
    try:
        into, out = map(float, price.split(","))
    except ValueError:
        raise ValueError(f"--price {price!r}: expected two numbers, e.g. 0.15,0.60") from None
    return into, out
