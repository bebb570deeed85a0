"""What a finished run records about its prompts."""

import logging
from pathlib import Path

from tadp_captioning.factory import is_captioner
from tadp_cli.config.recipe import Recipe
from tadp_cli.prompts.authors import generation_of, with_author
from tadp_cli.run.run import Run

log = logging.getLogger(__name__)


def read_prompting(run: Path) -> Recipe:
    """The run's recipe; of a run that does not record its captioner, what its config.toml leads to, with a warning."""
    recipe = Run(run).finished_recipe()
    if recipe.data.captioner or not recipe.needs_captions:
        return recipe
    try:
        found = with_author(recipe)
    except ValueError:  # several authors, or a file that cannot be read any more
        found = recipe
    found = found if is_captioner(found.captioner) else recipe
    log.warning(
        "%s does not record how its prompts were made: its config.toml is used, with new images captioned by %s (%s)",
        *(run, found.captioner, generation_of(found).params),
    )
    return found
