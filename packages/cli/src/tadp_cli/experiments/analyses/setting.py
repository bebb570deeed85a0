"""Input and output of an analysis."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tadp_backbone import DiffusionBackbone
from tadp_captioning import CaptionStore
from tadp_cli.config.recipe import load_recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.scenes_data import SEEDS, SOURCE
from tadp_cli.pipelines.evaluate import OpenedRun, open_run
from tadp_cli.pipelines.loading import loaded_backbone, loaded_model
from tadp_cli.pipelines.train_and_evaluate import ensure_experiment
from tadp_cli.precision import FULL_PRECISION
from tadp_cli.prompts.captions import Author, captions_of
from tadp_cli.run.records import read_object
from tadp_cli.run.run import Run
from tadp_heads.data import SampleDataset
from tadp_heads.data.registry import open_data
from tadp_heads.data.scenes.write import write_scenes


@dataclass(frozen=True, kw_only=True)
class Findings:
    """The numbers of an analysis."""

    numbers: dict[str, Any]
    """As they go into NAME.json."""
    columns: Sequence[str]
    """Heading of the printed table; the first column names a row."""
    rows: Sequence[Sequence[str]]
    remark: str
    """How the numbers are to be read, in one or two sentences."""


@dataclass(frozen=True, kw_only=True)
class Setting:
    """Data, models and extent of an analysis; without data Scenes, without a run a head that is trained for it."""

    out: Path
    run: Path | None = None
    data: str = ""
    """A segmentation data set, a folder or NAME:FOLDER; empty: the run's, or Scenes."""
    split: str = "val"
    backbone: str = "tiny"
    """Where no run is given; whatever `DiffusionBackbone.from_pretrained` takes."""
    captioner: str = ""
    """The captioner where no run names one; empty: tiny for the backbone tiny, else blip2."""
    images: int = 100
    """Maximum number of images."""
    steps: int = 300
    """Training steps of a head, where no run is given."""
    train_images: int = 350
    """Scenes that such a head is trained on; as many as in the demo."""
    cosine: float = 0.0
    """recall: a word names a class where their CLIP embeddings have at least this cosine (the paper: 0.9); 0: where it
    is the name, its plural or a synonym."""
    scales: str = "head"
    """attention: "head" for the maps that the head is given, "all" for those of all strides, as in the paper's figure;
    of the tiny backbone the coarsest were not taught to point."""
    device: str = "cpu"
    seed: int = 0
    report: Report = field(default=lambda *_: None)

    def __post_init__(self) -> None:
        for name in ("images", "steps", "train_images"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 <= self.cosine <= 1:
            raise ValueError(f"--cosine is {self.cosine}, expected above 0, at most 1, or 0 for matching by words")
        if self.scales not in ("all", "head"):
            raise ValueError(f"unknown --scales {self.scales!r}; choose from all, head")

    def figure(self, name: str) -> Path:
        return self.out / f"{name}.png"

    def open_images(self) -> SampleDataset:
        """The first images of the split."""
        where = self.data
        if not where:
            where = Run(self.run).finished_recipe().data.folder if self.run else str(self._scenes())
        dataset = open_data(where, "segmentation", self.split)
        dataset.ids = dataset.ids[: self.images]
        return dataset

    def load_backbone(self, *, keep_decoder: bool = False) -> DiffusionBackbone:
        """The run's, whose UNet may have been trained, or the one by name."""
        if self.run:
            Run(self.run).finished_recipe()
            return loaded_model(self.run, FULL_PRECISION, self.device).backbone
        return loaded_backbone(self.backbone, FULL_PRECISION, self.device, keep_decoder=keep_decoder)

    @property
    def image_range(self) -> str:
        """In which range the backbone takes its images: the run's, as a few are trained on standardised ones."""
        if self.run is None:
            return "sd"
        return read_object(self.run / "config.json", "model")["model"]["image_range"]

    @property
    def captioner_name(self) -> str:
        """The captioner where no run names one."""
        return self.captioner or ("tiny" if self.backbone == "tiny" else "blip2")

    def captions(self, dataset: SampleDataset) -> CaptionStore:
        """Written by the captioner, kept in the folder of the analyses."""
        return captions_of(
            dataset,
            None,
            Author(captioner=self.captioner_name, device=self.device),
            written_to=self.out / "captions" / f"{dataset.task}_{self.split}_{Path(self.data or SOURCE).name}.jsonl",
            progress=lambda p: self.report("caption", p.done, p.total),
        )

    def open_run(self, prompt: str) -> OpenedRun:
        """A segmentation run trained with this kind of prompt, and the first images of the split with their texts."""
        run = self.run or self._trained(prompt)
        recipe = Run(run).finished_recipe()
        if recipe.task != "segmentation" or recipe.prompt.kind != prompt:
            raise ValueError(
                f"{run} is a {recipe.task} run with the prompt {recipe.prompt.kind!r}; this analysis takes "
                f"segmentation runs with the prompt {prompt!r}"
            )
        return open_run(
            run,
            folder=self.data or None,
            split=self.split,
            most=self.images,
            device=self.device,
            report=self.report,
        )

    def _trained(self, prompt: str) -> Path:
        """A small head on a frozen backbone, trained on Scenes once and kept in the folder of the analyses."""
        name = f"{prompt}-{self.train_images}-images-{self.steps}-steps-seed{self.seed}"
        run = self.out / "heads" / name
        if not Run(run).finished:
            changes: dict[str, Any] = {
                "data.folder": str(self._scenes()),
                "prompt.kind": prompt,
                "backbone.source": self.backbone,
            }
            changes |= {"train.steps": self.steps, "train.seed": self.seed, "data.captioner": self.captioner}
            recipe = load_recipe("scenes-segmentation").replace(**changes)
            ensure_experiment(recipe, run, device=self.device, report=self.report)
        return run

    def _scenes(self) -> Path:
        folder = self.out / "data" / SOURCE
        for split, count in (("train", self.train_images), ("val", self.images)):
            write_scenes(folder, task="segmentation", domain=SOURCE, split=split, count=count, seed=SEEDS[split])
        return folder
