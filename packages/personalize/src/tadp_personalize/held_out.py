"""The number that says whether a domain was learned: denoising loss on images that were not trained on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import CLIPTokenizer

from tadp_personalize.io.tokens import expand_prompt
from tadp_personalize.prompts import fill, plain
from tadp_personalize.seeds import generator
from tadp_personalize.training.loss import Batch, DenoisingLoss
from tadp_personalize.training.sampler import token_ids

_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class HeldOutLoss:
    """Losses of the same images, noise and time steps under different prompts; image i is shown under template i."""

    latents: Tensor
    """(N, 4, h, w), the posterior's modes."""
    prompts: dict[str, list[str]]
    """Kind of prompt -> one sentence per image."""
    timesteps: tuple[int, ...]
    seed: int

    @classmethod
    def build(
        cls,
        *,
        latents: Tensor,
        templates: Sequence[str],
        captions: Sequence[str],
        token: str,
        word: str,
        count: int,
        train_timesteps: int,
        seed: int,
    ) -> "HeldOutLoss":
        """Lay out the comparison of learned token, initial word, plain sentence and no words at `count` time steps.

        `captions`, one per image, stand where a template has {caption}.
        """
        sentences = [(templates[i % len(templates)], caption) for i, caption in enumerate(captions)]
        return cls(
            latents=latents,
            prompts={
                "learnt": [fill(s, token, caption) for s, caption in sentences],
                "initial_word": [fill(s, word, caption) for s, caption in sentences],
                "plain": [plain(s, caption) for s, caption in sentences],
                "empty": ["" for _ in sentences],
            },
            timesteps=tuple(int((i + 0.5) * train_timesteps / count) for i in range(count)),
            seed=seed,
        )

    @torch.no_grad()
    def __call__(self, objective: DenoisingLoss, tokenizer: CLIPTokenizer) -> dict[str, float]:
        """Return the mean loss under each kind of prompt."""
        return {kind: self._mean(objective, tokenizer, sentences) for kind, sentences in self.prompts.items()}

    def as_dict(self) -> dict[str, Any]:
        """Return what was compared, for JSON."""
        return {
            "images": len(self.latents),
            "timesteps": list(self.timesteps),
            "prompts": {k: v[0] for k, v in self.prompts.items()},
        }

    def _mean(self, objective: DenoisingLoss, tokenizer: CLIPTokenizer, sentences: list[str]) -> float:
        levels = len(self.timesteps)
        latents = self.latents.repeat_interleave(levels, 0)  # (N * levels, 4, h, w)
        batch = Batch(
            latents=latents,
            noise=torch.randn(latents.shape, generator=generator(self.seed, "held-out")).to(latents),
            timesteps=torch.tensor(self.timesteps).repeat(len(self.latents)),
            ids=token_ids(tokenizer, [expand_prompt(s, tokenizer) for s in sentences]).repeat_interleave(levels, 0),
            weights=torch.full((len(latents),), 1 / len(latents)),
        ).to(latents.device)
        parts = zip(*(tensor.split(_AT_ONCE) for tensor in batch), strict=True)
        return torch.cat([objective(Batch(*part)) for part in parts]).double().mean().item()
