"""Features of a frozen backbone on disk: those of an image under one prompt are computed once."""

# B batch, C channels, h w cells, T tokens, D width of the context

import json
import os
import shutil
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tadp_heads.atomic_files import replacing
from tadp_heads.data.errors import DataError
from tadp_heads.pretrained import read_safetensors
from tadp_heads.training.dataset import Item, LiveBatches

FOLDER = "features"
"""In `train.cache`, or in the run until it ends."""
_FORMAT = 1
"""Of what an entry is found by; another one where features of the same inputs become other numbers."""


class FeatureStore:
    """A folder with a file per image and prompt, found again by all that its features are computed from.

    That is the backbone's weights and settings, the precision, how pixels are normalised and padded, the image's
    pixels, mirrored or not, and the context. Files are whole or not there; several processes may share the folder.
    """

    def __init__(self, folder: Path, fingerprint: str, live: LiveBatches):
        """`fingerprint`: of the backbone."""
        config, model = live.images.config, live.model
        drawn = config.seed if getattr(model.backbone, "is_stochastic", False) else None
        common = [_FORMAT, fingerprint, config.precision, model.config.image_range, live.size_multiple, drawn]
        self.folder, self._common = folder, json.dumps(common).encode()

    def files(self, items: Sequence[Item], context: Tensor | None) -> list[Path]:
        """Of the images of a batch, under the contexts (B, T, D) that they are given; None: the backbone's own."""
        rows: Sequence[Tensor | None] = [None] * len(items) if context is None else list(context)
        return [self._file(item, row) for item, row in zip(items, rows, strict=True)]

    def _file(self, item: Item, context: Tensor | None) -> Path:
        digest = sha256(self._common)
        for tensor in (item.pixels, *(() if context is None else (context,))):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
            digest.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)
        return self.folder / f"{digest.hexdigest()}.safetensors"

    def read(self, file: Path) -> list[Tensor] | None:
        """The levels (C, h, w) of an image, on the CPU; None where they are missing or damaged."""
        try:
            os.utime(file)  # `trim` removes what was not used for longest
            levels = read_safetensors(file)
        except (FileNotFoundError, DataError):
            return None
        return [levels[str(number)] for number in range(len(levels))]

    def write(self, file: Path, levels: Sequence[Tensor]) -> None:
        """Keep the levels (C, h, w) of an image."""
        # Copies: a row of a batch shares the memory of the whole batch, which safetensors refuses to write.
        whole = {"memory_format": torch.contiguous_format}
        tensors = {str(number): level.detach().cpu().clone(**whole) for number, level in enumerate(levels)}
        with replacing(file) as partial:
            save_file(tensors, partial)

    def trim(self, limit: float) -> None:
        """Remove what was not used for longest until the folder holds at most `limit` bytes."""
        found = []
        for file in self.folder.glob("*.safetensors"):
            try:
                found.append((file.stat().st_mtime, file.stat().st_size, file))
            except FileNotFoundError:  # another process trims too
                continue
        total = sum(size for _, size, _ in found)
        for _, size, file in sorted(found):
            if total <= limit:
                return
            file.unlink(missing_ok=True)
            total -= size


def store_for(live: LiveBatches, run: Path, needed: int) -> FeatureStore | None:
    """The store for a run's features of so many bytes; None where they are not to be kept on disk.

    That is where they are more than `train.features_gb` or the disk's free space, or where the backbone cannot identify
    its weights.
    """
    fingerprint: Callable[[], str] | None = getattr(live.model.backbone, "fingerprint", None)
    config = live.images.config
    folder = Path(config.cache or run) / FOLDER
    if fingerprint is None or needed > config.features_gb * 1e9 or needed > _free_bytes(folder):
        return None
    return FeatureStore(folder, fingerprint(), live)


def remove_features(run: Path) -> None:
    """What a run that has ended kept for itself."""
    shutil.rmtree(run / FOLDER, ignore_errors=True)


def _free_bytes(folder: Path) -> int:
    there: Any = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    return shutil.disk_usage(there).free
