"""`tadp reproduce`: a figure or table of the paper, in miniature."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.errors import one_line_errors
from tadp_cli.options import DeviceOption
from tadp_cli.progress import console

WHAT = ("figure-4",)


def reproduce(
    what: Annotated[str, typer.Argument(help=f"one of {', '.join(WHAT)}")],
    data: Annotated[Path | None, typer.Option(help="a segmentation data set; none: Scenes")] = None,
    split: Annotated[str, typer.Option(help="split of the data set")] = "val",
    images: Annotated[int, typer.Option(help="most images to look at")] = 300,
    backbone: Annotated[str, typer.Option(help="whatever holds a Stable Diffusion")] = "tiny",
    device: DeviceOption = "cpu",
) -> None:
    """Figure 4 as numbers: does an object's word attend to its object before any head is trained?

    Example: `tadp reproduce figure-4`
    """
    with one_line_errors():
        if what not in WHAT:
            raise ValueError(f"unknown figure or table {what!r}; choose from {', '.join(WHAT)}")
        import tempfile

        from tadp_backbone import DiffusionBackbone
        from tadp_cli.workflows.demo import SEEDS, SOURCE
        from tadp_cli.workflows.pointing import pointing_game
        from tadp_heads.data.folders import open_folder
        from tadp_heads.data.scenes_disk import write_scenes

        with tempfile.TemporaryDirectory() as scratch:
            folder = data or Path(scratch) / SOURCE
            if data is None:
                write_scenes(folder, task="segmentation", look=SOURCE, split=split, count=images, seed=SEEDS["val"])
            dataset = open_folder(folder, "segmentation", split)
            shares = pointing_game(DiffusionBackbone.from_pretrained(backbone, device=device), dataset, images)
        console.print("The maximum of a word's attention map lies on an object of its class, share of all words:")
        console.print(f"own word    {shares['own_word']:.3f}")
        console.print(f"other word  {shares['other_word']:.3f}   (the map of another object's word, same image)")
        console.print(f"chance      {shares['chance']:.3f}   (the class's share of the image)")
