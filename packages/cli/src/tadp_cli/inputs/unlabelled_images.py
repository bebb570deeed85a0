"""Images without labels that a run predicts as if they were a split of a data set."""

from tadp_captioning import find_images
from tadp_cli.config.recipe import Recipe
from tadp_cli.inputs.domain_images import domain_images
from tadp_heads.data.files import split_ids
from tadp_heads.data.registry import split_name
from tadp_heads.data.unlabelled import UnlabelledImages


def unlabelled_images(recipe: Recipe, where: str, split: str) -> UnlabelledImages:
    """The images of a folder, of its `split` or of one of NAME:FOLDER; their classes are not known yet.

    ValueError for a prompt that is made of labels.
    """
    if recipe.prompt.kind == "oracle":
        raise ValueError(f"{where} has no labels, which prompts of the kind 'oracle' need: name a labelled split")
    name, folder = split_name(where)
    if name is None:
        known = find_images(folder)  # labels of other splits are not read
        files = {image_id: known[image_id] for image_id in split_ids(folder, split or None, known)}
    else:
        files = find_images(domain_images(where, split, recipe.task))
    return UnlabelledImages(files, recipe.task, ())
