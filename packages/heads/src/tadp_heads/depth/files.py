"""Depth maps on disk: 16-bit images in millimetres, .npy or floating-point TIFF in metres; 0 = no value in all."""

from pathlib import Path
from tokenize import TokenError

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from tadp_heads.atomic_files import replacing
from tadp_heads.data.errors import DataError
from tadp_heads.data.image_io import open_image

MILLIMETRES = 1000
"""Steps of the PNG per metre."""
DEPTH_SUFFIXES = (".png", ".npy", ".tif", ".tiff")
_MOST_WHOLE_METRES = 200
"""An array of whole numbers above this is in millimetres."""


def write_depth_png(path: str | Path, depth: Tensor) -> None:
    """(H, W) or (1, H, W) in metres, finite, at most 65.535 -> 16-bit PNG in whole millimetres."""
    metres = _as_map(depth)
    millimetres = np.rint(metres * MILLIMETRES)
    if not np.isfinite(millimetres).all() or millimetres.min() < 0 or millimetres.max() > np.iinfo(np.uint16).max:
        raise ValueError(
            f"depth from {metres.min()} to {metres.max()} m: a 16-bit PNG holds 0 to 65.535 m; write .npy instead"
        )
    with replacing(Path(path)) as partial:
        Image.fromarray(millimetres.astype(np.uint16)).save(partial, format="PNG")


def write_depth_npy(path: str | Path, depth: Tensor) -> None:
    """(H, W) or (1, H, W) in metres -> float32 .npy in metres."""
    metres = _as_map(depth).astype(np.float32)
    with replacing(Path(path)) as partial, partial.open("wb") as file:
        np.save(file, metres)


def read_depth(path: str | Path) -> Tensor:
    """16-bit image in millimetres, .npy or floating-point TIFF in metres -> (H, W) float32 in metres, 0 = no value."""
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _metres(path, _read_npy(path))
    image = open_image(path)
    if image.mode == "F":
        return _metres(path, np.array(image))
    if not image.mode.startswith("I"):
        raise DataError(
            path,
            found=f"an image of mode {image.mode}",
            expected="a 16-bit grey PNG in millimetres",
            fix="export the depth as 16-bit PNG, or as .npy in metres",
        )
    values = np.array(image)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise DataError(
            path,
            found=f"values from {values.min()} to {values.max()}",
            expected="millimetres of 16 bits, 0 to 65535",
            fix="export the depth as 16-bit PNG, or as .npy in metres",
        )
    return torch.from_numpy(values.astype(np.float32) / MILLIMETRES)


def _metres(path: Path, values: np.ndarray) -> Tensor:
    """(H, W) float32 of an array that should be in metres."""
    metres = values.astype(np.float32)
    if not np.isfinite(metres).all() or (metres < 0).any():
        raise DataError(
            path,
            found="negative or non-finite depth",
            expected="metres, 0 = no value",
            fix="write 0 where there is none",
        )
    if values.dtype.kind in "iu" and metres.max(initial=0) > _MOST_WHOLE_METRES:
        raise DataError(
            path,
            found=f"whole numbers up to {metres.max():g}",
            expected="metres, as floating-point numbers",
            fix="divide millimetres by 1000, or save them as 16-bit PNG",
        )
    return torch.from_numpy(metres)


def _read_npy(path: Path) -> np.ndarray:
    if not path.is_file():
        raise DataError(path, found="no file", expected="a depth map", fix="add the file or take its id off the split")
    try:
        # Mapped, so that a header cannot ask for more memory than the file has bytes; an .npz has another beginning.
        metres = np.lib.format.open_memmap(path, mode="r")
    except (ValueError, TypeError, ArithmeticError, EOFError, RecursionError, SyntaxError, TokenError) as error:
        raise DataError(
            path,
            found=f"no array ({str(error).partition(chr(10))[0][:100]})",
            expected="an .npy file of metres",
            fix="write it again with numpy.save",
        ) from error
    if metres.ndim != 2 or metres.dtype.kind not in "fiu":
        raise DataError(
            path, found=f"an array {metres.shape} of {metres.dtype}", expected="(H, W) numbers", fix="write metres"
        )
    return metres


def _as_map(depth: Tensor) -> np.ndarray:
    """(H, W) float64 from (H, W) or (1, H, W)."""
    if depth.ndim == 3 and depth.shape[0] == 1:
        depth = depth[0]
    if depth.ndim != 2:
        raise ValueError(f"depth of shape {tuple(depth.shape)}: expected one map (H, W) or (1, H, W)")
    return depth.detach().cpu().double().numpy()
