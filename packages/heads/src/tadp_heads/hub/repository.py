"""Repositories of the Hugging Face Hub: `owner/name` in place of a path, and folders uploaded to one.

Packages do not import each other, so each that needs this module has its own copy, kept equal by a test.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

Kind = Literal["model", "dataset"]

_REPOSITORY = re.compile(r"(?!\.)[\w.-]+/[\w.-]+")
_FILES = (".bin", ".ckpt", ".csv", ".json", ".jsonl", ".parquet", ".pt", ".safetensors", ".toml", ".tsv", ".txt")
_LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


def is_repository(source: str | Path) -> bool:
    """Whether `source` reads as owner/name, where no such path, and no folder called owner, is on this disk."""
    text, path = str(source), Path(source)
    named = _REPOSITORY.fullmatch(text) is not None and not text.endswith(_FILES)
    return named and not path.exists() and not path.parent.is_dir()


def local_folder(
    source: str | Path, *, revision: str | None = None, kind: Kind = "model", patterns: Sequence[str] | None = None
) -> Path:
    """The path itself; of a repository the folder of its files, downloaded once and kept in the hub's cache.

    `revision`: a branch, tag or commit; None: the newest. `patterns`: of the files to download; None: all.
    """
    if not is_repository(source):
        if revision is not None:
            raise ValueError(f"revision {revision!r} goes with a repository owner/name, and {str(source)!r} is a path")
        return Path(source)
    hub = _hub()
    try:
        wanted = None if patterns is None else list(patterns)
        return Path(hub.snapshot_download(str(source), revision=revision, repo_type=kind, allow_patterns=wanted))
    except OSError as error:  # the hub's own errors too: no such repository, gated, not cached, no connection
        at = "" if revision is None else f" at {revision!r}"
        raise FileNotFoundError(
            f"{source}: no such path here, and the hub's {kind} of that name{at} is not available "
            f"({_reason(error)}); check the name, and for a private one {_LOGIN}"
        ) from error


def upload_folder(
    folder: Path, repository: str, *, private: bool = False, kind: Kind = "model", ignore: Sequence[str] = ()
) -> str:
    """Upload the files of a folder to a repository, created where missing; the address of the commit.

    `private`: of a repository that is created. Patterns of `ignore` are left out. After an interruption the same call
    uploads what is missing.
    """
    if _REPOSITORY.fullmatch(repository) is None:
        raise ValueError(f"repository {repository!r}: expected owner/name, e.g. my-name/my-model")
    hub = _hub()
    try:
        hub.create_repo(repository, private=private, repo_type=kind, exist_ok=True)
        done = hub.upload_folder(
            repo_id=repository,
            folder_path=folder,
            repo_type=kind,
            ignore_patterns=list(ignore),
            commit_message="Upload with tadp",
        )
    except Exception as error:  # of several libraries below the hub's client, which share no class
        raise RuntimeError(
            f"{repository}: the upload failed ({_reason(error)}); run the same again to upload what is missing, "
            f"or, where access was refused, {_LOGIN}"
        ) from error
    return str(done.commit_url)


def _hub() -> Any:
    try:
        import huggingface_hub
    except ImportError:
        raise ValueError("repositories of the hub need huggingface-hub: pip install huggingface-hub") from None
    return huggingface_hub.HfApi()


def _reason(error: BaseException) -> str:
    """The first line of what went wrong; of an error that wraps another, of the inner one."""
    while error.__cause__ is not None and isinstance(error, RuntimeError):
        error = error.__cause__
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
