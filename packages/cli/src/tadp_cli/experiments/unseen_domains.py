"""Runs of the miniature scored on Scenes in other looks, under prompts that name the look or leave it unnamed."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tadp_captioning import CaptionStore, CleaningLimits, cleaner_of
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.paper_tables import LookTest
from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.experiments.demo_files import SEEDS, SOURCE
from tadp_cli.inputs.prepare import LEARNT, captions_file, cleaned, learn_look, look_settings
from tadp_cli.pipelines.evaluate import score_run
from tadp_cli.pipelines.personalize import draw_look
from tadp_cli.run.run import Run
from tadp_heads.data.scenes.write import write_scenes

LOOK_IMAGES = 10
"""Scenes from which a look of the miniature is learnt."""
_SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class LookData:
    """What a run is scored on."""

    name: str
    """Of the look."""
    folder: str
    captions: Path | None
    """Without the words for the look; None: the run's prompts need none."""
    domain: str
    modifier: str
    token_file: str
    split: str = _SPLIT

    def score(self, run: Path, device: str, report: Report) -> dict[str, float]:
        """The run's metrics here, read from its results where they are there already."""
        place = (absolute(self.folder), _SPLIT, "", self.modifier, self.domain)
        cleaner = "" if self.captions is None else cleaner_of(CaptionStore.read(self.captions))
        known = Run(run).metrics_at(place, cleaner)
        if known is not None:
            return known
        entry = score_run(
            run,
            folder=self.folder,
            split=_SPLIT,
            captions=self.captions,
            domain=self.domain,
            modifier=self.modifier,
            token_file=self.token_file,
            device=device,
            report=report,
        )
        return entry["metrics"]

    def command(self, run: Path, device: str) -> str:
        """What a user types for the same score."""
        line = ["tadp", "eval", str(run), "--data", self.folder, "--split", _SPLIT, "--modifier", self.modifier]
        line += ["--device", device]
        line += ["--captions", str(self.captions)] if self.captions else []
        line += ["--domain", self.domain] if self.domain else []
        return shlex.join([*line, *(["--token-file", self.token_file] if self.token_file else [])])


def look_data(
    recipe: Recipe,
    test: LookTest,
    out: Path,
    count: int,
    device: str,
    report: Report,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
) -> LookData:
    """`count` Scenes in the test's look, their captions and a learnt token where they are asked for, all made once."""
    folder = out / "data" / recipe.task / test.look
    write_scenes(folder, task=recipe.task, look=test.look, split=_SPLIT, count=count, seed=SEEDS["test"])
    captions = None
    if recipe.needs_captions:
        captions = captions_file(recipe, str(folder), (_SPLIT,), out, device, report)
        if test.look != SOURCE:
            captions = cleaned(captions, test.look, recipe.test.cleaner, limits, report)
    token = ""
    if test.modifier in LEARNT:
        images, held_out = draw_look(out / "looks" / test.look / "images", test.look, LOOK_IMAGES, SEEDS["look"])
        learn_look(out, test.look, test.modifier, recipe.backbone.source, images, held_out, device, report)
        token = look_settings(out, test.look, test.modifier)["prompt.token_file"]
    named = test.look if test.modifier != "null" else ""
    return LookData(
        name=test.look,
        folder=str(folder),
        captions=captions,
        domain=named,
        modifier=test.modifier,
        token_file=token,
    )
