"""Vision transformers from and to folders of transformers."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, fields, replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import transformers
from transformers import AutoTokenizer, PreTrainedModel

from .._io import naming
from .._read_errors import check_sizes, reading
from ..io.files import read_json_object
from ..io.load import CONFIG_FILE, load_model
from ..io.schema import check_fields
from ..registry import TINY_FOLDER, Source
from ..text.cache import state_digest
from .config import VisionConfig
from .families import FAMILIES, supported
from .table import VISION_BACKBONES, VisionEntry

if TYPE_CHECKING:
    from .backbone import VisionBackbone

SETTINGS_FILE = "tadp_vision.json"
"""The VisionConfig next to the model's own config.json."""
_PROCESSOR = "preprocessor_config.json"
_FILES = (CONFIG_FILE, _PROCESSOR, "model.safetensors*", "model-*.safetensors", "tokenizer*", "vocab.*", "merges.txt")
_TOKENIZER = ("tokenizer.json", "vocab.json", "tokenizer.model")
_FIX = "use a complete folder that transformers wrote, its weights as .safetensors"


class VisionParts(NamedTuple):
    """What a backbone is built of, as read from disk."""

    model: PreTrainedModel
    tokenizer: Any
    """None: the model has no text tower."""
    config: VisionConfig


def fetch_vision(name: str, *, offline: bool = False) -> Path:
    """Folder with the weights of a name of the table or a hub id, downloaded once and kept in the hub's cache."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError

    entry: VisionEntry | None = VISION_BACKBONES.get(name)
    if entry is not None and entry.source is None:
        raise ValueError(f"{name!r} is drawn at random when it is loaded: there is nothing to fetch")
    source = Source(repository=name) if entry is None or entry.source is None else entry.source
    repository, revision = source.repository, source.revision
    by_hand = f"with network `tadp fetch {name}` gets it; or give the path of a folder with its files"
    if entry is not None and entry.gated:
        by_hand = (
            f"it is under the {entry.licence}: accept it at https://huggingface.co/{repository}, log in with `hf auth "
            f"login`, then {by_hand}"
        )
    try:
        return Path(
            snapshot_download(repository, revision=revision, allow_patterns=list(_FILES), local_files_only=offline)
        )
    except LocalEntryNotFoundError as error:
        raise FileNotFoundError(f"{name!r} is not here ({repository}: not in the cache): {by_hand}") from error
    except GatedRepoError as error:
        raise FileNotFoundError(f"{name!r} is gated ({repository}): {by_hand}") from error
    except OSError as error:
        reason = str(error).strip().splitlines()[0]
        raise FileNotFoundError(f"{name!r} is not available ({repository}: {reason}): {by_hand}") from error


def load_vision(
    source: str | Path, *, config: VisionConfig | None, dtype: torch.dtype, offline: bool, changes: Mapping[str, Any]
) -> VisionParts:
    """See `VisionBackbone.from_pretrained`; the tokenizer is None for a model without a text tower."""
    entry: VisionEntry | None = VISION_BACKBONES.get(str(source))
    if entry is not None and entry.source is None:
        return _random(entry, _with_changes(config or VisionConfig(), changes), dtype)
    folder = Path(source) if Path(source).is_dir() else fetch_vision(str(source), offline=offline)
    values = read_json_object(folder / CONFIG_FILE) if (folder / CONFIG_FILE).is_file() else {}
    kind = values.get("model_type")
    if kind not in FAMILIES:
        raise ValueError(f"{folder} holds no vision transformer (model_type {str(kind)[:80]!r}): {supported()}")
    check_sizes(values, folder / CONFIG_FILE)
    family = FAMILIES[kind]
    config = _with_changes(_settings(folder) if config is None else config, changes)
    tokenizer = None
    if family.two_towers:
        if not any((folder / name).is_file() for name in _TOKENIZER):
            raise ValueError(
                f"{folder} has a text tower and no tokenizer ({' or '.join(_TOKENIZER)}): add its files, or save its "
                "image tower alone"
            )
        with reading(folder, _FIX):
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    model = load_model(getattr(transformers, family.model), folder, dtype)
    return VisionParts(model, tokenizer, config)


def vision_fingerprint(backbone: "VisionBackbone") -> str:
    """SHA-256 of the weights, in their number format, and of all settings."""
    settings = {key: value for key, value in backbone.model.config.to_dict().items() if not key.startswith("_")}
    digest = sha256(json.dumps([asdict(backbone.config), settings], default=str, sort_keys=True).encode())
    digest.update(state_digest(backbone.model).encode())
    return digest.hexdigest()


def _random(entry: VisionEntry, config: VisionConfig, dtype: torch.dtype) -> VisionParts:
    """A model without trained weights, the same at every call."""
    values = entry.model_config()
    tokenizer = None
    if FAMILIES[entry.model_type].two_towers:
        tokenizer = AutoTokenizer.from_pretrained(TINY_FOLDER / "tokenizer", local_files_only=True)
        values.text_config.vocab_size = len(tokenizer)
        values.text_config.eos_token_id = tokenizer.eos_token_id
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = FAMILIES[entry.model_type].build(values).to(dtype).eval()
    return VisionParts(model, tokenizer, config)


def save_vision(backbone: "VisionBackbone", folder: Path) -> None:
    """The model, its tokenizer if it has one, and the VisionConfig; each part is written to a temporary name first."""
    new = folder / ".new.part"
    with naming(folder, new):
        try:
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir(parents=True)
            backbone.model.save_pretrained(new)
            tokenizer = getattr(backbone, "tokenizer", None)
            if tokenizer is not None:
                tokenizer.save_pretrained(new)
            text = json.dumps(asdict(backbone.config), indent=2) + "\n"
            (new / SETTINGS_FILE).write_text(text, encoding="utf-8")
            for part in sorted(new.iterdir()):
                part.replace(folder / part.name)
        finally:
            shutil.rmtree(new, ignore_errors=True)


def _settings(folder: Path) -> VisionConfig:
    """Those saved with the weights, or the statistics of pixels that the image processor records."""
    file, processor = folder / SETTINGS_FILE, folder / _PROCESSOR
    if file.is_file():
        values = read_json_object(file)
        check_fields(VisionConfig, values, file)
        return VisionConfig(**values)
    if not processor.is_file():
        return VisionConfig()
    known = {key: value for key, value in read_json_object(processor).items() if key in ("image_mean", "image_std")}
    check_fields(VisionConfig, known, processor)
    return VisionConfig(**known)


def _with_changes(config: VisionConfig, changes: Mapping[str, Any]) -> VisionConfig:
    unknown = set(changes) - {f.name for f in fields(VisionConfig)}
    if unknown:
        known = ", ".join(f.name for f in fields(VisionConfig))
        raise ValueError(f"a vision transformer has no setting {', '.join(sorted(unknown))}; it has {known}")
    return replace(config, **changes)
