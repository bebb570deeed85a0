"""The chosen images as a file."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from tadp_cli.labelling.next_images import Ranked
from tadp_heads.atomic_files import write_text


def write_ranking(chosen: Sequence[Ranked], path: Path) -> None:
    """.txt: one path per line, which other commands take as a list of images; .csv: with rank and uncertainty."""
    files = [one.file.resolve() for one in chosen]
    if path.suffix.lower() != ".csv":
        write_text(path, "".join(f"{file}\n" for file in files))
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "rank", "uncertainty"])
    rows.writerows(
        (file, rank, f"{one.uncertainty:.6f}") for rank, (file, one) in enumerate(zip(files, chosen, strict=True), 1)
    )
    write_text(path, text.getvalue())
