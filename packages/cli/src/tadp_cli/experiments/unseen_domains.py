"""Runs on Scenes evaluated in other domains, with prompts that name the domain or do not."""

import shlex
from dataclasses import dataclass
from pathlib import Path

from tadp_captioning import CaptionStore, CleaningLimits, cleaner_of
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN
from tadp_cli.config.paper_tables import DomainTest
from tadp_cli.config.paths import absolute
from tadp_cli.config.recipe import Recipe
from tadp_cli.console.reporter import Report
from tadp_cli.inputs.prepare import LEARNED, captions_file, cleaned, domain_settings, learn_domain
from tadp_cli.inputs.scenes_data import SEEDS, SOURCE
from tadp_cli.pipelines.evaluate import evaluate_run
from tadp_cli.pipelines.personalize import draw_domain
from tadp_cli.prompts.captions import Author
from tadp_cli.run.run import Run
from tadp_heads.data.scenes.write import write_scenes

DOMAIN_IMAGES = 10
"""Scenes from which a domain is learned."""
_SPLIT = "test"


@dataclass(frozen=True, kw_only=True)
class DomainData:
    """What a run is evaluated on."""

    name: str
    """Of the domain."""
    folder: str
    captions: Path | None
    """Without the words for the domain; None: the run's prompts need none."""
    domain: str
    modifier: str
    token_file: str
    split: str = _SPLIT

    def evaluate(self, run: Path, device: str, report: Report) -> dict[str, float]:
        """The run's metrics here, read from its results where they are there already."""
        place = (absolute(self.folder), _SPLIT, "", self.modifier, self.domain)
        cleaner = "" if self.captions is None else cleaner_of(CaptionStore.read(self.captions))
        known = Run(run).metrics_at(place, cleaner)
        if known is not None:
            return known
        entry = evaluate_run(
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
        """The command for the same metric."""
        line = ["tadp", "eval", str(run), "--data", self.folder, "--split", _SPLIT, "--modifier", self.modifier]
        line += ["--device", device]
        line += ["--captions", str(self.captions)] if self.captions else []
        line += ["--domain", self.domain] if self.domain else []
        return shlex.join([*line, *(["--token-file", self.token_file] if self.token_file else [])])


def domain_data(
    recipe: Recipe,
    test: DomainTest,
    out: Path,
    count: int,
    device: str,
    report: Report,
    limits: CleaningLimits = NO_LIMITS_GIVEN,
) -> DomainData:
    """`count` Scenes in the test's domain, their captions and a learned token where they are needed, all made once."""
    folder = out / "data" / recipe.task / test.domain
    write_scenes(folder, task=recipe.task, domain=test.domain, split=_SPLIT, count=count, seed=SEEDS["test"])
    captions = None
    if recipe.needs_captions:
        author = Author(**recipe.captioning, device=device)
        captions = captions_file(recipe, str(folder), (_SPLIT,), out, author, report)
        if test.domain != SOURCE:
            captions = cleaned(captions, test.domain, recipe.test.cleaner, limits, report)
    token = ""
    if test.modifier in LEARNED:
        images, held_out = draw_domain(
            out / "domains" / test.domain / "images", test.domain, DOMAIN_IMAGES, SEEDS["domain"]
        )
        learn_domain(out, test.domain, test.modifier, recipe.backbone.source, images, held_out, device, report)
        token = domain_settings(out, test.domain, test.modifier)["prompt.token_file"]
    named = test.domain if test.modifier != "null" else ""
    return DomainData(
        name=test.domain,
        folder=str(folder),
        captions=captions,
        domain=named,
        modifier=test.modifier,
        token_file=token,
    )
