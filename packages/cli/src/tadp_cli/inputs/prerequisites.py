"""What a planned run needs and this machine lacks: data, images of a domain, weights, a tagger."""

from collections.abc import Iterator, Sequence

from tadp_backbone.registry import TAESD
from tadp_cli.config.recipe import Recipe
from tadp_cli.experiments.reproduce.plan import Bench, PlannedRun, images_of_domain
from tadp_cli.inputs.domain_images import domain_images
from tadp_cli.inputs.fetch import cached_bytes, homes
from tadp_cli.inputs.prepare import LEARNED, domain_folder
from tadp_cli.run.run import RESULTS_FILE
from tadp_heads.data.registry import split_name


def check_inputs(plan: Sequence[PlannedRun], bench: Bench) -> None:
    """Data and images that are missing are an error before the first run, not in the middle of the table."""
    lacking = {line: None for planned in plan for line in missing_inputs(planned.recipe, bench)}
    if lacking:
        raise ValueError(f"{'; '.join(lacking)}; `--dry-run` lists what each row needs")


def missing_inputs(recipe: Recipe, bench: Bench) -> Iterator[str]:
    """What only the user can bring; nothing at small scale."""
    if bench.scale == "miniature":
        return
    if not recipe.data.folder:
        yield "no data set: name it with --data"
    for where, option in ((recipe.data.folder, "--data"), (recipe.test.folder, "--target")):
        if where and not split_name(where)[1].is_dir():
            yield f"no folder {split_name(where)[1]} ({option} {split_name(where)[0] or 'NAME'}:FOLDER)"
    if recipe.prompt.modifier in LEARNED:
        yield from _missing_images(recipe, bench)


def _missing_images(recipe: Recipe, bench: Bench) -> Iterator[str]:
    """Of the domain, unless it was learned already."""
    domain, how = recipe.prompt.domain, recipe.personalize
    if (domain_folder(bench.out, domain, recipe.prompt.modifier, how.rank) / RESULTS_FILE).is_file():
        return
    where = images_of_domain(recipe, bench)
    if not where:
        yield f"no images of the domain {domain} (--images {domain}=FOLDER)"
    elif not split_name(where)[1].exists():
        yield f"no images of the domain {domain} at {where} (--images {domain}=FOLDER)"
    else:
        try:
            domain_images(where, how.split)
        except (ValueError, OSError) as error:
            yield f"images of the domain {domain}: {error}"


def missing_weights(recipe: Recipe) -> Iterator[str]:
    """Weights that a run would download, and the tagger that only some prompts need."""
    here = cached_bytes()
    names = [recipe.backbone.source, *([recipe.captioner] if recipe.needs_captions else [])]
    if recipe.backbone.vae == TAESD and homes(recipe.backbone.source):  # the tiny model's comes with the package
        names.append(TAESD)
    for name in names:
        repositories = homes(name)
        if repositories and not any(repository in here for repository in repositories):
            yield f"weights of {name} (`tadp fetch {name}`)"
    if lacking := recipe.kind.missing():
        yield lacking
