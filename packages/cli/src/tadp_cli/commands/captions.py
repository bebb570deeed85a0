"""`tadp captions ...`: what is done to captions, file in, file out."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.commands.captions_clean import clean
from tadp_cli.commands.captions_options import FileArgument, OutFile
from tadp_cli.errors import one_line_errors
from tadp_cli.options import SeedOption
from tadp_cli.progress import console

captions_app = typer.Typer(help="What is done to captions, file in, file out.", no_args_is_help=True)

captions_app.command("clean")(clean)


@captions_app.command("modify")
def modify_captions(
    file: FileArgument,
    out: OutFile,
    domain: Annotated[str, typer.Option(help="target domain")],
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


@captions_app.command("nouns")
def nouns(file: FileArgument, out: OutFile) -> None:
    """Keep the nouns of each caption, each once, in order (paper 4.2, TADP(NO)).

    Example: `tadp captions nouns captions.jsonl --out nouns.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore
        from tadp_captioning.nouns import load_tagger, nouns_prompt

        tagger = load_tagger()
        rows = [r.with_caption(nouns_prompt(r.caption, tagger)) for r in CaptionStore.read(file).records()]
        CaptionStore(rows).write(out)
        console.print(f"{len(rows)} captions: {out}")


@captions_app.command("oracle")
def oracle(
    data: Annotated[Path, typer.Argument(help="a data set with classes")],
    out: OutFile,
    split: Annotated[str | None, typer.Option(help="split of the data set; none: all of it")] = None,
    precision: Annotated[float, typer.Option(help="share of the named classes that are present")] = 1.0,
    recall: Annotated[float, typer.Option(help="share of the present classes that are named")] = 1.0,
    seed: SeedOption = 0,
) -> None:
    """Name the classes present in each image, or a sample with a given precision and recall (Eq. 5, Table S2).

    Example: `tadp captions oracle my_data --split train --recall 0.5 --out oracle_r50.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionRecord, CaptionStore
        from tadp_captioning.oracle import precision_recall, sample_oracle
        from tadp_cli.workflows.text import object_names, present_classes
        from tadp_heads.data.folders import open_folder

        dataset = open_folder(data, split=split)
        present, names = present_classes(dataset), object_names(dataset.classes)
        named = sample_oracle(present, names, precision=precision, recall=recall, seed=seed)
        params = f"precision={precision:g}_recall={recall:g}_seed={seed}"
        rows = [
            CaptionRecord(id=key, caption=" ".join(words), captioner="oracle", params=params, source=str(data))
            for key, words in named.items()
        ]
        CaptionStore(rows).write(out)
        reached = precision_recall(named, present)
        console.print(f"{len(rows)} captions, precision {reached.precision:.3f}, recall {reached.recall:.3f}: {out}")


@captions_app.command("stats")
def stats(
    file: FileArgument,
    data: Annotated[Path | None, typer.Option(help="the data set, for class precision and recall")] = None,
    split: Annotated[str | None, typer.Option(help="split of the data set; none: all of it")] = None,
) -> None:
    """Count captions and their defects; against a data set's labels also class precision and recall (Fig. S5).

    Example: `tadp captions stats captions.jsonl --data my_data --split val`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore
        from tadp_captioning.stats import caption_stats, class_report

        store = CaptionStore.read(file)
        counted = caption_stats(store)
        console.print(f"{counted.count} captions, {counted.mean_words:.1f} words each, {counted.duplicates} duplicates")
        for defect, ids in counted.flagged.items():
            console.print(f"{defect:12} {len(ids)}")
        if data is not None:
            from tadp_cli.workflows.text import object_names, present_classes
            from tadp_heads.data.folders import open_folder

            dataset = open_folder(data, split=split)
            if not dataset.classes:
                raise ValueError(f"{data} has no classes, so captions have no class precision there; leave --data out")
            report = class_report(store, present_classes(dataset), object_names(dataset.classes))
            console.print(f"class precision {report.overall.precision:.3f}, recall {report.overall.recall:.3f}")
            for name, found in report.by_class.items():
                console.print(f"  {name:20} {found.precision:.3f} {found.recall:.3f}", markup=False)
