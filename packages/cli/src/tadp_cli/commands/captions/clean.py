"""`tadp captions clean`: style words out of captions, by rules or by a language model."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.captions_options import FileArgument, OutFile, PhraseOption, chosen_domain
from tadp_cli.console.cleaning_options import BaseUrlOption, MaxRequestsOption, PriceOption, cleaning_limits
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import PluginOption
from tadp_cli.console.progress import bars, console


def clean(
    file: FileArgument,
    out: OutFile,
    domain: Annotated[
        str | None, typer.Option(help="target domain of the table, e.g. watercolor, comic, night; all: every one")
    ] = None,
    domain_phrase: PhraseOption = None,
    cleaner: Annotated[
        str, typer.Option(help="rules (offline), openai or openai:MODEL (key: OPENAI_API_KEY)")
    ] = "rules",
    model: Annotated[str, typer.Option(help="openai: name of the model")] = "gpt-4o-mini",
    base_url: BaseUrlOption = None,
    price: PriceOption = None,
    max_usd: Annotated[float, typer.Option(help="openai: maximum cost in dollars; 0: only print the estimate")] = 1.0,
    max_requests: MaxRequestsOption = None,
    cache: Annotated[Path | None, typer.Option(help="openai: cache of paid answers; default: in ~/.cache/tadp")] = None,
    plugin: PluginOption = None,
) -> None:
    """Remove the words that name the domain's style or medium, keep the content (paper 4.3).

    Example: `tadp captions clean target.jsonl --domain watercolor --out target_clean.jsonl`
    """
    with one_line_errors():
        from dataclasses import replace

        from tadp_captioning import CaptionStore, OpenAICleaner, clean_store, load_cleaner

        target = None if domain == "all" else chosen_domain(domain, domain_phrase)
        if target is None and cleaner != "rules":
            raise ValueError(f"--domain all removes the words of every domain by rules: leave --cleaner {cleaner} out")
        limits = replace(cleaning_limits(base_url, price, max_usd, max_requests), cache=cache)
        with bars() as report:
            name = f"openai:{model}" if cleaner == "openai" else cleaner
            worker = load_cleaner(name, target, limits, progress=lambda done, total: report("clean", done, total))
            store = CaptionStore.read(file)
            if isinstance(worker, OpenAICleaner):
                cost = worker.estimate([record.caption for record in store.records()])
                dollars = "price unknown" if cost.usd is None else f"about ${cost.usd:.4f}"
                console.print(f"{cost.texts} texts in {cost.requests} requests, {dollars}")
                if max_usd == 0:
                    return
            cleaned, changes = clean_store(store, worker)
        cleaned.write(out)
        if isinstance(worker, OpenAICleaner) and worker.spending.price is not None:
            console.print(f"spent ${worker.spending.spent_usd:.4f}")
        left = ", ".join(f"{word} {count}" for word, count in changes.residues.most_common(5))
        console.print(
            f"{changes.changed} of {len(store)} captions changed, {changes.residual} still name a style"
            f"{f' ({left})' if left else ''}: {out}",
            markup=False,
        )
