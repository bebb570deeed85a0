"""`tadp captions stats | diff | convert`: quality of captions, differences, other formats."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.captions_options import (
    DomainOption,
    FileArgument,
    OutFile,
    PhraseOption,
    SplitOption,
    chosen_domain,
)
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.progress import console
from tadp_heads.atomic_files import write_text


def stats(
    file: FileArgument,
    data: Annotated[Path | None, typer.Option(help="the data set, for class precision and recall")] = None,
    split: SplitOption = None,
    domain: DomainOption = None,
    domain_phrase: PhraseOption = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="backbone whose CLIP counts tokens and, with --data, matches words by cosine, e.g. sd15"),
    ] = None,
    cosine: Annotated[
        float, typer.Option(help="with --backbone: minimum cosine similarity of a word and a class name that match")
    ] = 0.9,
    flag: Annotated[Path | None, typer.Option(help="write the ids of bad captions, for caption --only-flagged")] = None,
    per_image: Annotated[
        Path | None, typer.Option(help="with --data: write precision and recall per image, CSV")
    ] = None,
) -> None:
    """Count captions and their defects; against a data set's labels also class precision and recall (Fig. S5).

    With a domain, style words are those of the domain, and captions that have them are flagged too.

    Example: `tadp captions stats captions.jsonl --data my_data --split val --flag bad.txt`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, RuleCleaner
        from tadp_captioning.stats import DEFECTS, bad_captions, caption_stats
        from tadp_cli.pipelines.caption_quality import class_tables, load_text_encoder, write_per_image

        if data is None and (split or per_image):
            raise ValueError("--split and --per-image need a data set: name it with --data")
        if not 0 < cosine <= 1:
            raise ValueError(f"--cosine is {cosine}, expected above 0, at most 1")
        store = CaptionStore.read(file)
        target = chosen_domain(domain, domain_phrase) if domain or domain_phrase else None
        tokenizer, encode = load_text_encoder(backbone) if backbone else (None, None)
        reports = {} if data is None else class_tables(store, data, split, encode=encode, threshold=cosine)
        counted = caption_stats(store, tokenizer=tokenizer, cleaner=RuleCleaner(target))
        console.print(f"{counted.count} captions, {counted.mean_words:.1f} words each, {counted.duplicates} duplicates")
        if tokenizer is not None:
            console.print(f"{counted.mean_tokens:.1f} tokens each, {counted.over_length:.1%} over the length of CLIP")
        for defect, ids in counted.flagged.items():
            console.print(f"{defect:12} {len(ids)}")
        for word, count in counted.style_words.most_common(10):
            console.print(f"  {word:20} {count}", markup=False)
        if data is not None:
            for title, report in reports.items():
                precision, recall = map(share, report.overall)
                console.print(f"{title}: class precision {precision}, recall {recall}")
                console.print(f"  {'class':20} precision    recall images")
                for name, found in report.by_class.items():
                    precision, recall = map(share, found)
                    line = f"  {name:20} {precision:>9} {recall:>9} {report.images[name]:6}"
                    console.print(line, markup=False)
            if per_image is not None:
                write_per_image(reports, per_image)
                console.print(f"precision and recall an image: {per_image}")
        if flag is not None:
            bad = bad_captions(counted, (*DEFECTS, "style") if target else DEFECTS)
            write_text(flag, "".join(f"{image_id}\n" for image_id in bad))
            console.print(f"{len(bad)} flagged: {flag}")


def share(value: float | None) -> str:
    """A precision or recall in [0, 1]; one of nothing named or nothing present is undefined."""
    return "undefined" if value is None else f"{value:.3f}"


def diff(
    before: FileArgument,
    after: FileArgument,
    limit: Annotated[int, typer.Option(help="maximum number of changed captions to show; 0: all")] = 10,
) -> None:
    """Show captions that differ between two files, and images that only one of them has.

    Example: `tadp captions diff target.jsonl target_clean.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore
        from tadp_captioning.stats import diff_stores

        found = diff_stores(CaptionStore.read(before), CaptionStore.read(after))
        for image_id, (old, new) in list(found.changed.items())[: limit or None]:
            console.print(f"{image_id}\n  - {old}\n  + {new}", markup=False, highlight=False, soft_wrap=True)
        console.print(
            f"{len(found.changed)} changed, {len(found.only_before)} only in {before}, "
            f"{len(found.only_after)} only in {after}"
        )


def convert(
    file: FileArgument,
    out: OutFile,
    id_column: Annotated[
        str | None, typer.Option(help="a table's column of image ids, where FILE or --out is one")
    ] = None,
    caption_column: Annotated[str | None, typer.Option(help="a table's column of captions")] = None,
) -> None:
    """Write captions in another format: .jsonl, the paper's .json, .csv, .parquet, or a folder of .txt files.

    Example: `tadp captions convert metadata.csv --id-column file_name --caption-column text --out captions.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, Columns
        from tadp_captioning.caption_tables import TABLES

        columns = None
        if id_column or caption_column:
            columns = Columns(id=id_column or "id", caption=caption_column or "caption")
        tables = {path for path in (file, out) if path.suffix.lower() in TABLES}
        if columns is not None and not tables:
            raise ValueError(f"--id-column and --caption-column are for {', '.join(TABLES)} files")
        store = CaptionStore.read(file, columns=columns if file in tables else None)
        store.write(out, columns=columns if out in tables else None)
        failed = len(store.failed())
        console.print(f"{len(store)} captions{f', {failed} of them failed images' if failed else ''}: {out}")
