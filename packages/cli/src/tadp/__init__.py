"""Text-aligned diffusion perception in Python: what the commands do, as functions. Importing this imports no torch.

import tadp

recipe = tadp.load_recipe("scenes-segmentation", ("data.folder=data/photo", "train.steps=300"))
run = tadp.train(recipe, "runs/first")
print(run.evaluations[0]["metrics"]["mIoU"])
print(tadp.evaluate(run, data="data/watercolor", split="test", domain="watercolor"))
tadp.predict(run, ["photos/", "more/*.jpg"], "predictions")
tadp.explain("photos/cat.jpg", "words.png", caption="a cat on a sofa")
tadp.caption("photos/", "captions.jsonl", captioner="blip2", min_new_tokens=40)
tadp.personalize("watercolor", "tokens/watercolor", images="paintings/", backbone="sd15")
tadp.adapt("scenes-segmentation", "data/photo", "data/watercolor", "adapted", domain="watercolor")
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tadp_cli.api import adapt, caption, evaluate, explain, personalize, predict, train
    from tadp_cli.config.recipe import Recipe, load_recipe
    from tadp_cli.run.run import Run

__all__ = [
    "Recipe",
    "Run",
    "adapt",
    "caption",
    "evaluate",
    "explain",
    "load_recipe",
    "personalize",
    "predict",
    "train",
]

_ELSEWHERE = {"Recipe": "tadp_cli.config.recipe", "load_recipe": "tadp_cli.config.recipe", "Run": "tadp_cli.run.run"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_ELSEWHERE.get(name, "tadp_cli.api")), name)


def __dir__() -> list[str]:
    return sorted((*globals(), *__all__))
