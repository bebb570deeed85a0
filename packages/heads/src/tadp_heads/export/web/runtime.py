"""onnxruntime-web: the files of its npm package that a page needs, in one pinned version."""

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

from tadp_heads.atomic_files import replacing

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
LICENCE = "MIT, Copyright (c) Microsoft Corporation"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""Of the package's file, in base64, as lock files of npm have it."""
SCRIPT, GLUE, BINARY = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
FILES = (SCRIPT, GLUE, BINARY)
_ARCHIVE = f"{PACKAGE}-{VERSION}.tgz"
_SECONDS = 600
"""Timeout of npm's download of 33 MB."""


def runtime_files() -> dict[str, bytes]:
    """{name: content} of FILES; the package is fetched by npm once and kept in the user's cache.

    Raise RuntimeError where it is not there and cannot be fetched.
    """
    archive = _cache() / _ARCHIVE
    if not archive.is_file():
        _fetch(archive)
    if _sha512(archive) != SHA512:
        raise RuntimeError(f"{archive} is not {PACKAGE} {VERSION} as it was published (SHA-512 differs): delete it")
    with tarfile.open(archive) as package:
        members = {name: package.extractfile(f"package/dist/{name}") for name in FILES}
        return {name: member.read() for name, member in members.items() if member is not None}


def _fetch(archive: Path) -> None:
    """`archive` by npm; what another package manager fetched may be put there by hand."""
    by_hand = f"fetch {_ARCHIVE} where there is a network and put it at {archive}"
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError(f"the page needs {PACKAGE} {VERSION}, and there is no npm to fetch it: {by_hand}")
    with tempfile.TemporaryDirectory() as folder:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=_SECONDS, check=False, cwd=folder)
            message = done.stderr.strip().splitlines()[:1] or [f"npm ended with {done.returncode}"]
        except subprocess.TimeoutExpired:
            message = [f"npm did not finish within {_SECONDS} seconds"]
        fetched = Path(folder) / _ARCHIVE
        if not fetched.is_file():
            raise RuntimeError(f"npm could not fetch {PACKAGE} {VERSION} ({message[0]}): {by_hand}")
        with replacing(archive) as partial:
            shutil.copyfile(fetched, partial)


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tadp"


def _sha512(path: Path) -> str:
    with path.open("rb") as file:
        return base64.b64encode(hashlib.file_digest(file, "sha512").digest()).decode()
