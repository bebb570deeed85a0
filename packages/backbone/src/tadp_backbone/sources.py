"""From a name, hub id or path to files on this disk."""

import logging
from pathlib import Path

from .table import BACKBONES, Source

_log = logging.getLogger(__name__)

_FILES = (
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
"""What of a repository is fetched: safetensors in full precision, once."""


def fetch(name: str, *, offline: bool = False) -> Path:
    """Folder with the weights of a name of the table or a hub id, downloaded once and kept in the hub's cache.

    A name of the table that is in the cache, from whichever mirror, is not asked for again; else the mirrors are tried
    in order. `offline` (or HF_HUB_OFFLINE) looks into the cache alone.
    """
    entry = BACKBONES.get(name)
    if entry is not None and entry.folder is not None:
        return _shipped(name, entry.folder)
    mirrors = entry.sources if entry is not None else (Source(repository=name),)
    cached = [folder for mirror in mirrors if (folder := _cached(mirror)) is not None]
    if cached and (offline or entry is not None):
        return cached[0]
    from huggingface_hub.errors import LocalEntryNotFoundError

    failures = []
    for mirror in mirrors:
        try:
            return _download(mirror, offline)
        except OSError as error:  # the hub's own errors too: gone, gated, not cached, no connection
            if isinstance(error, LocalEntryNotFoundError):  # the hub's message speaks of its own arguments
                failures.append(f"{mirror.repository}: not in the cache" + ("" if offline else ", and no connection"))
                continue
            reason = str(error).strip().splitlines()[0]
            failures.append(f"{mirror.repository}: {reason}")
            _log.warning("%s is not to be had (%s)", mirror.repository, reason)
    raise FileNotFoundError(
        f"{name!r} is not here ({'; '.join(failures)}). With network `tadp fetch {name}` gets it. Or put its "
        f"files ({', '.join(_FILES[2:])}) into one folder, or one original .safetensors file, and give that path"
    )


def locate(source: str | Path, *, offline: bool = False) -> Path:
    """The folder or the one file that a source means, fetched where it is a name or hub id."""
    path = Path(source)
    if str(source) not in BACKBONES and path.exists():
        return path
    looks_like_path = path.is_absolute() or str(source).startswith((".", "~")) or str(source).count("/") != 1
    if str(source) not in BACKBONES and (looks_like_path or path.suffix in (".ckpt", ".safetensors")):
        raise ValueError(
            f"no backbone {str(source)!r}: neither a file or folder here nor a name; choose from "
            f"{', '.join(BACKBONES)}, a hub id (owner/name), a diffusers folder, or an LDM .ckpt or .safetensors"
        )
    return fetch(str(source), offline=offline)


def _shipped(name: str, folder: Path) -> Path:
    if not (folder / "model_index.json").is_file():
        raise FileNotFoundError(f"the weights of {name!r} are missing from this installation ({folder})")
    return folder


def _cached(source: Source) -> Path | None:
    """The snapshot in the hub's cache, if it is there whole: an interrupted download leaves configs without weights."""
    try:
        folder = _download(source, offline=True)
    except OSError:
        return None
    parts = {Path(file).parent: file for file in _FILES if file.endswith(".safetensors")}
    whole = all((folder / file).is_file() for part, file in parts.items() if (folder / part / "config.json").is_file())
    return folder if whole and (folder / "unet" / "config.json").is_file() else None


def _download(source: Source, offline: bool) -> Path:
    from huggingface_hub import snapshot_download

    folder = snapshot_download(
        source.repository, revision=source.revision, allow_patterns=list(_FILES), local_files_only=offline
    )
    return Path(folder)
