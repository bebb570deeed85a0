"""The images that the tiny models learn from: Scenes in all four looks, rendered once into flat arrays."""

import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from tadp_heads.data.scenes import LOOKS, Scene, sample_scene
from tadp_heads.data.scenes_render import render

SIZE = 64
CHUNK = 500


class Corpus(NamedTuple):
    images: np.ndarray  # (N, 64, 64, 3) uint8
    masks: np.ndarray  # (N, 64, 64) uint8
    seed: int

    def scene(self, index: int) -> Scene:
        return sample_scene(self.seed, index)

    def look(self, index: int) -> str:
        return LOOKS[index % len(LOOKS)]


def make_corpus(folder: Path, count: int, seed: int, workers: int = 2) -> Corpus:
    """Scenes 0 .. count-1 of `seed`, each in one look in turn; read from `folder` when it is there already."""
    images_path, masks_path = folder / f"images_{seed}.npy", folder / f"masks_{seed}.npy"
    if not masks_path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with ProcessPoolExecutor(workers) as pool:
            starts = range(0, count, CHUNK)
            parts = list(pool.map(_render_chunk, [seed] * len(starts), starts, [min(s + CHUNK, count) for s in starts]))
        _save(np.concatenate([images for images, _ in parts]), images_path)
        _save(np.concatenate([masks for _, masks in parts]), masks_path)
    images, masks = np.load(images_path, mmap_mode="r"), np.load(masks_path, mmap_mode="r")
    if len(images) != count:
        raise ValueError(
            f"{folder} holds {len(images)} images, {count} were asked for; remove it or name another --out"
        )
    return Corpus(images, masks, seed)


def _save(array: np.ndarray, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        np.save(file, array)
    os.replace(temporary, path)


def _render_chunk(seed: int, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    pictures = [render(sample_scene(seed, i), LOOKS[i % len(LOOKS)], SIZE) for i in range(start, stop)]
    return np.stack([p.image for p in pictures]), np.stack([p.mask for p in pictures])
