"""`tadp captions modify | nouns | class-names | oracle`: captions into prompts."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.commands.captions.quality import share
from tadp_cli.console.captions_options import (
    DomainOption,
    FileArgument,
    OutFile,
    PhraseOption,
    SplitOption,
    chosen_domain,
)
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import PluginOption, SeedOption
from tadp_cli.console.progress import console

DataArgument = Annotated[Path, typer.Argument(help="a data set with classes")]


def modify_captions(
    file: FileArgument,
    out: OutFile,
    modifier: Annotated[str, typer.Option(help="null, simple, textual-inversion, dreambooth, nearby or unrelated")],
    domain: DomainOption = None,
    domain_phrase: PhraseOption = None,
    token: Annotated[str | None, typer.Option(help="learned token; none: the domain's, e.g. `<watercolor>`")] = None,
    style: Annotated[str, typer.Option(help="grammatical, or reference: the paper's code verbatim")] = "grammatical",
    plugin: PluginOption = None,
) -> None:
    """Name the domain in each caption.

    Example: `tadp captions modify source.jsonl --domain watercolor --modifier simple --out prompts.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore, modify

        target = chosen_domain(domain, domain_phrase)
        rows = [
            record
            if record.error is not None
            else record.with_caption(modify(record.caption, target, modifier, token=token, style=style))
            for record in CaptionStore.read(file).records()
        ]
        CaptionStore(rows).write(out)
        console.print(f"{len(rows)} captions: {out}")


def nouns(file: FileArgument, out: OutFile) -> None:
    """Keep the nouns of each caption, each once, in order (paper 4.2, TADP(NO)).

    Uses NLTK's tagger, whose data is downloaded once; without a network a small built-in tagger, with a note.

    Example: `tadp captions nouns captions.jsonl --out nouns.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionStore
        from tadp_captioning.prompts.nouns import load_tagger, nouns_prompt

        records = list(CaptionStore.read(file).records())
        tagger = load_tagger()
        rows = [r if r.error is not None else r.with_caption(nouns_prompt(r.caption, tagger)) for r in records]
        CaptionStore(rows).write(out)
        console.print(f"{len(rows)} captions: {out}")


def class_names(data: DataArgument, out: OutFile, split: SplitOption = None) -> None:
    """Name all classes of the data set for every image: the image-independent baseline (paper 4.1).

    Example: `tadp captions class-names my_data --split train --out class_names.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionRecord, CaptionStore, class_names_prompt
        from tadp_heads.data.class_names import listed_names
        from tadp_heads.data.registry import open_data

        dataset = open_data(data, split=split)
        if not dataset.classes:
            raise ValueError(f"{data} has no classes")
        names = listed_names(dataset.prompt_names)
        text = class_names_prompt(names)
        rows = [CaptionRecord(id=key, caption=text, captioner="class-names", source=str(data)) for key in dataset.ids]
        CaptionStore(rows).write(out)
        console.print(f"{len(rows)} captions of {len(names)} class names: {out}")


def oracle(
    data: DataArgument,
    out: OutFile,
    split: SplitOption = None,
    precision: Annotated[float, typer.Option(help="share of the named classes that are present")] = 1.0,
    recall: Annotated[float, typer.Option(help="share of the present classes that are named")] = 1.0,
    seed: SeedOption = 0,
) -> None:
    """Name the classes present in each image, or a sample with a given precision and recall (Eq. 5, Table S2).

    On Pascal VOC the background is named too, as in the paper's code; precision and recall are those of objects.

    Example: `tadp captions oracle my_data --split train --recall 0.5 --out oracle_r50.jsonl`
    """
    with one_line_errors():
        from tadp_captioning import CaptionRecord, CaptionStore
        from tadp_captioning.prompts.oracle import precision_recall
        from tadp_cli.prompts.builder import oracle_names
        from tadp_heads.data.class_names import object_names
        from tadp_heads.data.present_classes import annotated_names
        from tadp_heads.data.registry import open_data

        dataset = open_data(data, split=split)
        present, objects = annotated_names(dataset), set(object_names(dataset.prompt_names))
        named = oracle_names(present, dataset.prompt_names, precision=precision, recall=recall, seed=seed)
        params = f"precision={precision:g}_recall={recall:g}_seed={seed}"
        rows = [
            CaptionRecord(id=key, caption=" ".join(words), captioner="oracle", params=params, source=str(data))
            for key, words in named.items()
        ]
        CaptionStore(rows).write(out)
        given, there = ({key: objects & set(names) for key, names in of.items()} for of in (named, present))
        reached = precision_recall(given, there)
        shown = f"precision {share(reached.precision)}, recall {share(reached.recall)}"
        console.print(f"{len(rows)} captions, {shown}: {out}")
