"""Parts of a saved backbone that are those of a published one: recorded by name, revision and checksum, not copied."""

import hashlib
import re
from collections.abc import Callable, Set
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..registry import BACKBONES
from .files import read_json_object, read_safetensors
from .hub import PIPELINE_FILES, fetch, fetch_revision
from .schema import check_fields

if TYPE_CHECKING:
    from ..backbone import DiffusionBackbone

REFERENCE_FILE = "reference.json"
PARTS = ("unet", "vae", "text_encoder")
Load = Callable[[Path, torch.dtype], nn.Module]
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_FIX = "save it again with --bundle on a machine that has its backbone, or fetch that backbone"


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Where parts of a backbone are, and what they were when it was saved."""

    source: str
    """A name of the table or a hub id."""
    repository: str
    """On a model hub; "" where the weights come with the package."""
    revision: str
    """Its commit; of weights that come with the package their version."""
    files: dict[str, str]
    """{"unet/diffusion_pytorch_model.safetensors": SHA-256}, and so for each file of the parts."""

    @property
    def parts(self) -> set[str]:
        """Names of the parts."""
        return {name.split("/")[0] for name in self.files}

    def __str__(self) -> str:
        return f"{self.source} ({', '.join(filter(None, (self.repository, f'revision {self.revision}')))})"


def reference_to(backbone: "DiffusionBackbone", load: Load) -> Reference | None:
    """To the frozen parts that are as published; None where there is none, or it was not loaded from a published one.

    `load` reads a part of a folder in a type, to be compared with it.
    """
    place = None if backbone.source is None else _place_of(backbone.source)
    if place is None:
        return None
    folder, repository, revision = place
    there = [name for name in PARTS if (folder / name).is_dir()]
    same = [name for name in there if _is_same(getattr(backbone, name), folder / name, load)]
    names = [name for name in PIPELINE_FILES if name.split("/")[0] in same and (folder / name).is_file()]
    files = {name: _sha256(folder / name) for name in names}
    source = str(backbone.source)
    return Reference(source=source, repository=repository, revision=revision, files=files) if files else None


def read_reference(folder: Path) -> Reference | None:
    """That of a saved backbone's folder; None where all of it is there."""
    file = folder / REFERENCE_FILE
    if not file.is_file():
        return None
    values = {key: value for key, value in read_json_object(file).items() if key != "format"}
    files = values.get("files")
    known = isinstance(files, dict) and all(re.fullmatch(rf"({'|'.join(PARTS)})/[\w.-]+", name) for name in files)
    if not known or not all(isinstance(values.get(name), str) for name in ("source", "repository", "revision")):
        raise ValueError(f"{file}: expected source, repository, revision and the files of parts, as it was saved")
    check_fields(Reference, {name: value for name, value in values.items() if name != "files"}, file)
    reference = Reference(**values)
    names = (reference.source, reference.repository or "a/b")
    if not (names[0] in BACKBONES or _HUB_ID.fullmatch(names[0])) or not _HUB_ID.fullmatch(names[1]):
        raise ValueError(f"{file}: source is {names[0][:80]!r}, expected a name of the table or a hub id")
    return reference


def folder_of(reference: Reference, saved: Path, *, offline: bool) -> Path:
    """The folder with the reference's parts, fetched where needed, each file compared with its checksum.

    `saved`: the folder that refers to it. Raise ValueError where it is not available or has changed.
    """
    try:
        if reference.repository:
            folder = fetch_revision(reference.source, reference.repository, reference.revision, offline=offline)
        else:
            folder = fetch(reference.source, offline=offline)
    except (OSError, ValueError) as error:
        raise ValueError(f"{saved} refers to {reference}: {error}") from error
    for name, checksum in reference.files.items():
        if not (folder / name).is_file():
            raise ValueError(f"{saved} refers to {reference}, and {folder / name} is missing: {_FIX}")
        if _sha256(folder / name) != checksum:
            raise ValueError(
                f"{saved} refers to {reference}, and {folder / name} is another file (its SHA-256 differs): {_FIX}"
            )
    return folder


def as_json(reference: Reference) -> dict[str, Any]:
    """What REFERENCE_FILE holds."""
    return {"format": 1, **asdict(reference)}


def _place_of(source: str) -> tuple[Path, str, str] | None:
    """(folder, repository, revision) of a published backbone that is on this machine."""
    entry = BACKBONES.get(source)
    if entry is not None and entry.folder is not None:
        return (entry.folder, "", str(entry.version)) if entry.version else None  # a registered folder may change
    if entry is None and not _HUB_ID.fullmatch(source):
        return None
    folder = fetch(source, offline=True)
    if folder.parent.name != "snapshots":
        return None
    repository = folder.parent.parent.name.removeprefix("models--").replace("--", "/", 1)
    return folder, repository, folder.name


@torch.no_grad()
def _is_same(part: nn.Module | None, folder: Path, load: Load) -> bool:
    """Whether a part is frozen and has the values of the published one in its own precision."""
    if part is None or any(parameter.requires_grad for parameter in part.parameters()):
        return False
    own = part.state_dict()
    published = _tensors_of(folder, own.keys())
    if published is None:
        published = load(folder, next(part.parameters()).dtype).state_dict()
    if own.keys() != published.keys():
        return False
    return all(torch.equal(value.cpu(), published[name].to(value.dtype)) for name, value in own.items())


def _tensors_of(folder: Path, names: Set[str]) -> dict[str, torch.Tensor] | None:
    """Those of the folder's one weight file, without the time and memory of a model; None where it lacks a name."""
    files = list(folder.glob("*.safetensors"))
    tensors = read_safetensors(files[0]) if len(files) == 1 else {}
    return {name: tensors[name] for name in names} if names <= tensors.keys() else None


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
