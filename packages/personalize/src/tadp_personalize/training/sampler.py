"""The k-th training batch, as a function of the seed and k."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tadp_personalize.seeds import generator
from tadp_personalize.training.latents import ImageLatents
from tadp_personalize.training.loss import Batch, draw_timesteps


@dataclass(frozen=True, kw_only=True)
class Source:
    """Images with the prompts they are shown under."""

    name: str
    """Key of its random draws."""
    latents: ImageLatents
    prompts: Tensor
    """(N, P, T) token ids, those of each image, or (1, P, T), of all; a sample draws one of its image's."""
    weight: float = 1.0
    """Weight of its mean loss in the batch's loss."""


@dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches of `batch_size` samples of every source.

    Batch k does not depend on what was drawn before it, so a resumed run continues exactly.
    """

    sources: tuple[Source, ...]
    batch_size: int
    timesteps: int
    """Length of the noise schedule."""
    stratified: bool
    seed: int

    def __getitem__(self, index: int) -> Batch:
        drawn = [self._draw(source, index) for source in self.sources]
        return Batch(*(torch.cat(parts) for parts in zip(*drawn, strict=True)))

    def _draw(self, source: Source, index: int) -> Batch:
        rng = generator(self.seed, source.name, index)
        size = self.batch_size
        images = image_order(len(source.latents), index * size, size, self.seed, source.name)
        latents = source.latents.draw(images, rng)
        rows = torch.randint(source.prompts.shape[1], (size,), generator=rng)
        batch = Batch(
            latents=latents,
            noise=torch.randn(latents.shape, generator=rng),
            timesteps=draw_timesteps(size, self.timesteps, stratified=self.stratified, generator=rng),
            ids=source.prompts[torch.tensor(images) % len(source.prompts), rows],
            weights=torch.full((size,), source.weight / size),
        )
        return batch.to(latents.device)


def image_order(count: int, start: int, size: int, *key: object) -> list[int]:
    """Return entries [start, start + size) of an endless sequence: one permutation of the images after the other."""
    order: list[int] = []
    for epoch in range(start // count, (start + size - 1) // count + 1):
        order += torch.randperm(count, generator=generator(*key, "epoch", epoch)).tolist()
    offset = start % count
    return order[offset : offset + size]


def token_ids(tokenizer: CLIPTokenizer, prompts: Sequence[str]) -> Tensor:
    """Return (P, T) ids, padded and cut to the text encoder's length as the pipelines do."""
    length = tokenizer.model_max_length
    return tokenizer(
        list(prompts), padding="max_length", truncation=True, max_length=length, return_tensors="pt"
    ).input_ids
