"""The progress of captioning: images per second and the time left."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from tadp_cli.console.progress import console

if TYPE_CHECKING:
    from rich.progress import Task

    from tadp_captioning import Progress


class ImagesPerSecond(ProgressColumn):
    """Over the last half minute, so that images found in the file already don't count for long."""

    def render(self, task: "Task") -> Text:
        """E.g. "12.3 images/s"; empty before the first."""
        speed = task.finished_speed or task.speed
        return Text(f"{speed:.1f} images/s" if speed else "")


@contextmanager
def caption_bar(shown: bool = True) -> "Iterator[Callable[[Progress], None]]":
    """Yields what `caption_images` reports to; a bar on a terminal, else nothing."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        ImagesPerSecond(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=console, disable=not (shown and console.is_terminal)) as bar:
        task = bar.add_task("caption", total=None)

        def report(progress: "Progress") -> None:
            failed = f" ({progress.failed} failed)" if progress.failed else ""
            bar.update(task, completed=progress.done, total=progress.total, description=f"caption{failed}")

        yield report
