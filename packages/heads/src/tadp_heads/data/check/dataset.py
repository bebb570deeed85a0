"""Checking a data set before training on it: every finding in one report, a thousand images in seconds."""

from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from tadp_heads.data.errors import DataError
from tadp_heads.data.inspection import Inspection
from tadp_heads.data.sample import IGNORE_INDEX, Sample, SampleDataset
from tadp_heads.overlay import color_depth, contact_sheet, draw_boxes, draw_legend, draw_mask, stacked

_THREADS = 4
_SAMPLES = 16
"""Of a data set, where all would take too long."""
_SHOWN = 12
"""Samples of a contact sheet."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """The findings over a whole data set."""

    root: Path
    task: str
    images: int
    """Number of samples checked."""
    sizes: dict[tuple[int, int], int]
    """{(width, height): number of images}."""
    histogram: dict[str, int]
    """{class: pixels or boxes}; empty for depth."""
    depth_range_m: tuple[float, float] | None
    problems: tuple[str, ...]
    """What is wrong, one line each."""
    warnings: tuple[str, ...]
    """What may be meant so, one line each."""
    layout: str = ""
    """How the folder holds its annotations, such as "LabelMe JSON"; "": as a data set known by name."""
    unreadable: Mapping[str, str] = field(default_factory=dict)
    """{sample id: the problem, one of `problems`, that keeps it from being read}."""
    dataset: SampleDataset | None = field(repr=False)
    """The data set that was checked, without files that have no counterpart; None when it could not be opened."""

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; what keeps it from being trained on is less (`check.training`)."""
        return not self.problems


def check_dataset(
    root: Path,
    dataset: SampleDataset,
    *,
    problems: Sequence[str] = (),
    warnings: Sequence[str] = (),
    layout: str = "",
) -> CheckReport:
    """Inspects each sample in threads (decoding releases the interpreter) and adds up what was seen.

    A DataError becomes a problem. `problems` and `warnings` are those found before.
    """

    unreadable: dict[str, str] = {}

    def guarded(sample_id: str) -> Inspection:
        try:
            return dataset.inspect(sample_id)
        except DataError as error:
            unreadable[sample_id] = str(error)
            return Inspection(problems=[str(error)])

    with ThreadPoolExecutor(_THREADS) as pool:
        seen = list(pool.map(guarded, dataset.ids))
    counts: Counter = Counter()
    for item in seen:
        counts.update(item.counts)
    about = _about_classes(root, dataset, counts)
    ranges = [item.depth_range_m for item in seen if item.depth_range_m is not None]
    return CheckReport(
        root=root,
        task=dataset.task,
        layout=layout,
        images=len(dataset),
        sizes=dict(Counter(item.size for item in seen if item.size is not None).most_common()),
        histogram={name: counts[index] for index, name in enumerate(dataset.classes)},
        depth_range_m=(min(low for low, _ in ranges), max(high for _, high in ranges)) if ranges else None,
        problems=(*problems, *(line for item in seen for line in item.problems), *about.problems),
        warnings=(*warnings, *(line for item in seen for line in item.warnings), *about.warnings),
        unreadable=unreadable,
        dataset=dataset,
    )


def sampled_doubts(dataset: SampleDataset, root: Path) -> tuple[str, ...]:
    """Problems of the labels as a whole that a few samples show; a malformed one among them is an error."""
    step = max(1, len(dataset) // _SAMPLES)
    counts: Counter = Counter()
    for sample_id in dataset.ids[::step][:_SAMPLES]:
        counts.update(dataset.inspect(sample_id).counts)
    return tuple(_about_classes(root, dataset, counts).problems)


def unopened(root: Path, task: str, error: DataError) -> CheckReport:
    """The report on a data set that cannot even be opened."""
    return CheckReport(
        root=root,
        task=task,
        images=0,
        sizes={},
        histogram={},
        depth_range_m=None,
        problems=(str(error),),
        warnings=(),
        dataset=None,
    )


def _about_classes(root: Path, dataset: SampleDataset, counts: Counter) -> Inspection:
    """Ids that no class has, classes that no image has, and masks in which all objects may have such ids."""
    classes, about = dataset.classes, Inspection()
    if dataset.task == "depth":
        return about
    foreign = {index - len(classes): n for index, n in counts.items() if index >= len(classes)}
    ignored = foreign.pop(IGNORE_INDEX, 0)
    names = ", ".join(str(number) for number in sorted(foreign))
    share = f"{sum(foreign.values()) / max(1, counts.total()):.1%} of the pixels"
    if len(classes) > 1 and sum(counts[index] > 0 for index in range(len(classes))) <= 1 and (foreign or ignored):
        only_ignored = f"{IGNORE_INDEX} (ignored) in {ignored / counts.total():.1%} of the pixels"
        found = f"ids without a class ({names}: {share})" if foreign else only_ignored
        error = DataError(
            root,
            found=f"at most one class in all masks, and {found}",
            expected=f"ids 0 to {len(classes) - 1}, as classes.txt numbers them; black and white masks have 0 and 1",
            fix="write the ids into the masks, not values made to be seen",
        )
        about.problems.append(str(error))
    elif foreign:
        about.warnings.append(f"{root}: ids without a class, which are ignored: {names} ({share})")
    absent = [name for index, name in enumerate(classes) if not counts[index]]
    if absent:
        about.warnings.append(f"{root}: classes that never occur: {', '.join(absent)}")
    return about


def annotated(sample: Sample, dataset: SampleDataset) -> Image.Image:
    """The sample's image with its annotation drawn over it."""
    image = Image.fromarray(sample.image.permute(1, 2, 0).numpy())
    if dataset.task == "segmentation":
        return draw_mask(image, sample.target, dataset.palette)
    if dataset.task == "depth":
        return color_depth(sample.target)
    labels = sample.target["labels"]
    names = [dataset.classes[label] for label in labels.tolist()]
    return draw_boxes(image, sample.target["boxes"], labels, names, dataset.palette)


def sample_sheet(dataset: SampleDataset) -> Image.Image | None:
    """A contact sheet of at most 12 samples spread evenly over the data set, with ids and the colours of the classes.

    None when not one of them can be read.
    """
    step = max(1, len(dataset) // _SHOWN)
    images = {}
    for sample_id in dataset.ids[::step][:_SHOWN]:
        try:
            images[sample_id] = annotated(dataset.read(sample_id), dataset)
        except DataError:  # It is in the report already.
            continue
    if not images:
        return None
    sheet = contact_sheet(list(images.values()), list(images))
    if dataset.task != "segmentation":  # depths have no classes, boxes say theirs
        return sheet
    return stacked(sheet, draw_legend(dataset.classes, dataset.palette, sheet.width))
