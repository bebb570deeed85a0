"""Locates weights: a name of the table, a hub id or a path -> files on disk, downloaded where needed."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..registry import BACKBONES, TAESD, Source

_log = logging.getLogger(__name__)


class _Layout(NamedTuple):
    """Files of a repository that are fetched: weights as safetensors in full precision."""

    files: tuple[str, ...]
    part: str
    """The folder that has to be there."""
    by_hand: str
    """What the user can give in its place."""


PIPELINE_FILES = (
    "config.json",
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/model.safetensors",
    "tokenizer/*",
    "unet/config.json",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.safetensors",
)
_XL_FILES = ("text_encoder_2/config.json", "text_encoder_2/model.safetensors", "tokenizer_2/*")
_PIPELINE = _Layout(
    (*PIPELINE_FILES, *_XL_FILES),
    "unet",
    f"put its files ({', '.join(PIPELINE_FILES[2:])}) into one folder, or one original .safetensors file, and give "
    "that path",
)
_VAE_FILES = ("config.json", "diffusion_pytorch_model.safetensors")
_VAE = _Layout(_VAE_FILES, ".", f"put its files ({', '.join(_VAE_FILES)}) into one folder and give that path")


def fetch(name: str, *, offline: bool = False, revision: str | None = None) -> Path:
    """Folder with the weights of a name of the table or a hub id, downloaded once and kept in the hub's cache.

    A name of the table that is in the cache, from whichever mirror, is not asked for again; else the mirrors are tried
    in order. `offline` (or HF_HUB_OFFLINE) looks into the cache alone. `revision`: of a hub id; a ValueError with a
    name of the table. FileNotFoundError names what is missing, and how to get it by hand.
    """
    entry = BACKBONES.get(name)
    if entry is not None and revision is not None:
        raise ValueError(f"revision {revision!r} goes with a hub id (owner/name); {name!r} is pinned to one")
    if entry is not None and entry.folder is not None:
        return _shipped(name, entry.folder, "model_index.json")
    if name == TAESD:
        return fetch_taesd("sd15", offline=offline)
    mirrors = entry.sources if entry is not None else (Source(repository=name, revision=revision),)
    fetch_unet(name, offline=offline)
    return _first(name, mirrors, _PIPELINE, offline=offline, known=entry is not None)


def fetch_revision(name: str, repository: str, revision: str, *, offline: bool = False) -> Path:
    """Folder with one revision of the weights of a name of the table or a hub id, from the cache where it has them."""
    mirrors = (Source(repository=repository, revision=revision),)
    return _first(name, mirrors, _PIPELINE, offline=offline, known=True)


def fetch_unet(name: str, *, offline: bool = False) -> Path | None:
    """The file of UNet weights that a name of the table has in place of its sources', fetched as `fetch` does; None: it
    has none."""
    entry = BACKBONES.get(name)
    if entry is None or entry.unet_source is None:
        return None
    from huggingface_hub import hf_hub_download

    source, file = entry.unet_source, entry.unet_file
    try:
        return Path(hf_hub_download(source.repository, file, revision=source.revision, local_files_only=offline))
    except OSError as error:
        reason = "not in the cache" if offline else str(error).strip().splitlines()[0]
        raise FileNotFoundError(
            f"{name!r} lacks {file} of {source.repository} ({reason}): with network `tadp fetch {name}` gets it"
        ) from error


def fetch_taesd(source: str | Path, *, offline: bool = False) -> Path:
    """Folder of the AutoencoderTiny that was distilled from the VAE of a name of the table, fetched as `fetch` does."""
    entry = BACKBONES.get(str(source))
    if entry is None:
        raise ValueError(
            f"the encoder {TAESD!r} is known for {', '.join(BACKBONES)}, not for {str(source)!r}: give the folder of "
            "an AutoencoderTiny that was distilled from its VAE"
        )
    if entry.taesd_folder is not None:
        return _shipped(f"{TAESD} for {source}", entry.taesd_folder, "config.json")
    return _first(TAESD, entry.taesd_sources, _VAE, offline=offline, known=True)


def _first(name: str, mirrors: Sequence[Source], layout: _Layout, *, offline: bool, known: bool) -> Path:
    """The folder of the first mirror that answers; where the mirrors are `known`, the cache answers first."""
    cached = [folder for mirror in mirrors if (folder := _cached(mirror, layout)) is not None]
    if cached and (offline or known):
        return cached[0]
    from huggingface_hub.errors import LocalEntryNotFoundError

    failures = []
    for mirror in mirrors:
        try:
            return _download(mirror, layout, offline)
        except OSError as error:  # the hub's own errors too: gone, gated, not cached, no connection
            if isinstance(error, LocalEntryNotFoundError):  # the hub's message speaks of its own arguments
                failures.append(f"{mirror.repository}: not in the cache" + ("" if offline else ", and no connection"))
                continue
            reason = str(error).strip().splitlines()[0]
            failures.append(f"{mirror.repository}: {reason}")
            _log.warning("%s is not available (%s)", mirror.repository, reason)
    raise FileNotFoundError(
        f"{name!r} is not here ({'; '.join(failures)}). With network `tadp fetch {name}` gets it. Or " + layout.by_hand
    )


def locate(source: str | Path, *, offline: bool = False, revision: str | None = None) -> Path:
    """The folder or file of a source, fetched where it is a name or hub id; `revision`: of a hub id."""
    path = Path(source)
    if str(source) not in BACKBONES and path.exists():
        if revision is not None:
            raise ValueError(f"revision {revision!r} goes with a hub id (owner/name), and {str(source)!r} is a path")
        return path
    looks_like_path = path.is_absolute() or str(source).startswith((".", "~")) or str(source).count("/") != 1
    if str(source) not in BACKBONES and (looks_like_path or path.suffix in (".ckpt", ".safetensors")):
        raise ValueError(
            f"no backbone {str(source)!r}: neither a file or folder here nor a name; choose from "
            f"{', '.join(BACKBONES)}, a hub id (owner/name), a diffusers folder, or an LDM .ckpt or .safetensors"
        )
    return fetch(str(source), offline=offline, revision=revision)


def locate_vae(vae: str | Path, source: str | Path, *, offline: bool = False) -> Path:
    """The folder of the VAE in place of `source`'s: of "taesd" that of the table, fetched where needed."""
    return fetch_taesd(source, offline=offline) if str(vae) == TAESD else vae_folder(vae)


def vae_folder(folder: str | Path) -> Path:
    """The path of a diffusers folder with one VAE; ValueError if it is none, or its weights are no .safetensors."""
    path = Path(folder)
    if not (path / "config.json").is_file() or not any(path.glob("*.safetensors")):
        raise ValueError(
            f"no VAE {str(folder)!r}: expected a diffusers folder with config.json and "
            f"diffusion_pytorch_model.safetensors, or where a backbone is loaded {TAESD!r}"
        )
    return path


def _shipped(name: str, folder: Path, landmark: str) -> Path:
    if not (folder / landmark).is_file():
        raise FileNotFoundError(f"the weights of {name!r} are missing from this installation ({folder})")
    return folder


def _cached(source: Source, layout: _Layout) -> Path | None:
    """The snapshot in the hub's cache, if it is complete: an interrupted download leaves configs without weights."""
    try:
        folder = _download(source, layout, offline=True)
    except OSError:
        return None
    weights = [Path(file) for file in layout.files if file.endswith(".safetensors")]
    whole = all((folder / file).is_file() for file in weights if (folder / file.parent / "config.json").is_file())
    return folder if whole and (folder / layout.part / "config.json").is_file() else None


def _download(source: Source, layout: _Layout, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        source.repository, revision=source.revision, allow_patterns=list(layout.files), local_files_only=offline
    )
    return Path(folder)
