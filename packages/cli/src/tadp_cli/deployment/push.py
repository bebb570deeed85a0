"""From a run, a personalization or a file of captions to a repository of the hub."""

from pathlib import Path
from typing import Any

from PIL import Image

from tadp_backbone import BACKBONES
from tadp_backbone.io.licences import licence_of
from tadp_captioning import CaptionStore
from tadp_captioning.factory import is_captioner
from tadp_cli.config.default_models import TINY
from tadp_cli.config.recipe import Recipe
from tadp_cli.run.finished import run_of
from tadp_cli.run.records import read_object
from tadp_cli.run.run import Run
from tadp_heads import PerceptionModel
from tadp_heads.data.image_io import open_rgb
from tadp_heads.data.registry import split_name
from tadp_heads.data.scenes.marker import is_scenes
from tadp_heads.data.scenes.render import render
from tadp_heads.data.scenes.scene import sample_scene
from tadp_heads.hub.card import CardDetails
from tadp_heads.hub.run import push_run
from tadp_personalize.hub.push import push_personalization

_PERSONALIZATION = "personalization.json"
_OWN = "own data"
_NOT_KNOWN = "not known: that of the weights it was trained from"
_TINY_LIMIT = "Made with the tiny models, which know only rendered scenes: of no use on photographs."


def push_anything(what: Path, repository: str, *, private: bool, sample: Path | None, caption: str | None) -> str:
    """Upload; the address of the commit."""
    if (what / _PERSONALIZATION).is_file():
        return _push_personalization(what, repository, private)
    if not what.is_dir() or not Run(run_of(what)).begun:
        return _push_captions(what, repository, private)
    run = Run(run_of(what))
    recipe, model = run.finished_recipe(), run.load_model()
    image = open_rgb(sample) if sample else _scene(recipe, model)
    details = details_of(recipe, run.evaluations)
    return push_run(run.folder, repository, details, model=model, private=private, sample=image, caption=caption)


def details_of(recipe: Recipe, evaluations: list[dict[str, Any]]) -> CardDetails:
    """What a run's card reports; data sets by name, never by their path."""
    source, data = recipe.backbone.source, data_name(recipe.data.folder)
    captioner = recipe.captioner if recipe.needs_captions and is_captioner(recipe.captioner) else ""
    return CardDetails(
        licence=licence_of(source).key,
        licences=licences_of(source, data, captioner),
        base_model=base_model(source),
        data=data,
        evaluations=[{**entry, "data": data_name(entry["data"])} for entry in evaluations],
        limits=(_TINY_LIMIT,) if source == TINY else (),
    )


def licences_of(source: str, data: str = "", captioner: str = "") -> dict[str, str]:
    """{part: its licence} of a model trained from the backbone `source`."""
    known = source in BACKBONES or base_model(source)
    parts = {"code, tadp": "tadp", f"diffusion model, {source if known else 'of a local folder'}": source}
    if source in BACKBONES and source != TINY:
        parts["text encoder, CLIP"] = "clip"
    parts |= {f"captions, {captioner}": captioner} if captioner else {}
    parts |= {f"training data, {data}": data} if data not in ("", _OWN) else {}
    return {shown: str(licence_of(part)) if part != source or known else _NOT_KNOWN for shown, part in parts.items()}


def data_name(folder: str) -> str:
    """Of a data set: its name in NAME:FOLDER, "scenes", or "own data"."""
    return split_name(folder)[0] or ("scenes" if is_scenes(folder) else _OWN)


def base_model(source: str) -> str:
    """owner/name of a backbone on the hub; "" for others."""
    if source in BACKBONES:
        return next((where.repository for where in BACKBONES[source].sources), "")
    return source if source.count("/") == 1 and not Path(source).exists() else ""


def _scene(recipe: Recipe, model: PerceptionModel) -> Image.Image | None:
    """A rendered scene to show, of a run on Scenes; images of other data are not published unasked."""
    can_prompt = model.has_fixed_prompt or not model.config.needs_caption or model.config.captioner
    if not can_prompt or not is_scenes(recipe.data.folder):
        return None
    return Image.fromarray(render(sample_scene(3, 0), "photo").image)


def _push_personalization(folder: Path, repository: str, private: bool) -> str:
    made_on = str(read_object(folder / _PERSONALIZATION, "base")["base"].get("name", ""))
    name = next((name for name, entry in BACKBONES.items() if _is_called(made_on, name, entry)), made_on)
    return push_personalization(
        folder,
        repository,
        private=private,
        base_model=base_model(name),
        licence_key=licence_of(name).key,
        licences=licences_of(name) | {"images learned from": "their rights must allow it"},
    )


def _is_called(made_on: str, name: str, entry: Any) -> bool:
    """Whether a folder or repository is that of a name of the table; the hub's cache has owner--name in its paths."""
    if entry.folder is not None:
        return made_on in (name, str(entry.folder))
    repositories = [source.repository for source in entry.sources]
    return made_on == name or any(
        r in (made_on, made_on.replace("--", "/")) or r.replace("/", "--") in made_on for r in repositories
    )


def _push_captions(file: Path, repository: str, private: bool) -> str:
    if not file.exists():
        raise ValueError(f"{file}: no such run, personalization or file of captions")
    if file.is_dir() and not any(file.glob("*.txt")):
        raise ValueError(f"{file}: neither a finished run nor a personalization, and no folder of captions (*.txt)")
    store = CaptionStore.read(file)
    captioners = {record.captioner for record in store.records() if record.captioner}
    licence = licence_of(next(iter(captioners))) if len(captioners) == 1 else None
    return store.push_to_hub(
        repository, private=private, licence="" if licence is None else f"of their captioner: {licence}"
    )
