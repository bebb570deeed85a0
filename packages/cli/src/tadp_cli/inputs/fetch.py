"""Weights by name: where they lie on this machine, and fetching them."""

from pathlib import Path

from tadp_backbone import BACKBONES
from tadp_backbone import fetch as fetch_backbone
from tadp_backbone.io.licences import licence_of
from tadp_backbone.registry import TAESD
from tadp_backbone.vision.table import VISION_BACKBONES
from tadp_captioning.captioners.families import FAMILIES
from tadp_captioning.registry import CAPTIONERS, CaptionerSpec
from tadp_cli.run.records import read_object

_OTHER_FORMATS = ["*.bin", "*.pt", "*.pth", "*.h5", "*.msgpack", "*.onnx", "*.gguf"]

NAMES = tuple(dict.fromkeys((*BACKBONES, *VISION_BACKBONES, *CAPTIONERS, TAESD)))


def check_names(names: list[str]) -> None:
    """That each is a name of one of the tables or a hub id."""
    for name in names:
        if name not in NAMES and name.count("/") != 1:
            known = ", ".join(NAMES)
            raise ValueError(f"unknown weights {name!r}; choose from {known}, or a hub id owner/name")


def fetch(name: str, *, offline: bool = False) -> Path:
    """Folder with the weights of a backbone, a captioner, taesd or a hub id; downloaded unless here or `offline`."""
    if name in VISION_BACKBONES:
        from tadp_backbone.vision.files import fetch_vision

        return fetch_vision(name, offline=offline)
    if name in CAPTIONERS and name not in BACKBONES:
        if CAPTIONERS[name].factory is not None:
            raise ValueError(f"the captioner {name!r} is code of a plugin: there is nothing to fetch")
        return _fetch_captioner(name, CAPTIONERS[name], offline)
    folder = fetch_backbone(name, offline=offline)  # no more than config.json of a captioner's repository
    if name in BACKBONES or name == TAESD or (folder / "model_index.json").is_file() or (folder / "unet").is_dir():
        return folder
    _check_captions(name, folder)
    return _fetch_captioner(name, CaptionerSpec(model=name), offline)


def licence_lines(name: str) -> list[str]:
    """The licences of what `fetch` gets by a name."""
    parts = {"licence": name}
    if name in BACKBONES and BACKBONES[name].folder is None:
        parts["licence of its text encoder"] = "clip"
    return [f"{name}, {shown}: {licence_of(part)}" for shown, part in parts.items()]


def homes(name: str) -> list[str]:
    """Repositories on the hub that hold the weights of a name, in the order in which they are tried; [] if it ships."""
    repositories = []
    if name in BACKBONES:
        entry = BACKBONES[name]
        repositories += [source.repository for source in entry.sources]
        repositories += [entry.unet_source.repository] if entry.unet_source else []
    if name in VISION_BACKBONES and VISION_BACKBONES[name].source is not None:
        repositories.append(VISION_BACKBONES[name].source.repository)
    if name == TAESD:
        repositories += [source.repository for source in BACKBONES["sd15"].taesd_sources]
    if name in CAPTIONERS and CAPTIONERS[name].factory is None and not Path(CAPTIONERS[name].model).is_absolute():
        repositories.append(CAPTIONERS[name].model)
    return repositories


def cached_bytes() -> dict[str, int]:
    """{repository: bytes on disk} in the hub's cache."""
    from huggingface_hub import constants, scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        return {repo.repo_id: repo.size_on_disk for repo in scan_cache_dir(constants.HF_HUB_CACHE).repos}
    except CacheNotFound:
        return {}


def _check_captions(repository: str, folder: Path) -> None:
    """Before gigabytes are downloaded that nothing here can use."""
    config = folder / "config.json"
    kind = read_object(config).get("model_type") if config.is_file() else None
    if kind not in FAMILIES:
        raise ValueError(
            f"{repository} holds neither a backbone (no model_index.json, no unet/) nor a captioner (model_type in "
            f"its config.json: {kind!r}, expected one of {', '.join(FAMILIES)})"
        )


def _fetch_captioner(name: str, spec: CaptionerSpec, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    try:
        folder = snapshot_download(
            spec.model, revision=spec.revision, ignore_patterns=_OTHER_FORMATS, local_files_only=offline
        )
    except OSError as error:  # the hub's own errors too
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{spec.model} is not available ({reason}); with network `tadp fetch {name}` gets it, "
            "and `--captioner FOLDER` takes a folder with its files"
        ) from error
    if not any(Path(folder).glob("*.safetensors")):
        raise FileNotFoundError(
            f"{spec.model} has no weights (*.safetensors) in {folder}; with network `tadp fetch {name}` gets them, "
            "where the repository has them"
        )
    return Path(folder)
