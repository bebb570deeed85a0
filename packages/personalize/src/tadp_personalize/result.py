"""What a run gives back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tadp_personalize.data.images import ImageReport


@dataclass(frozen=True, kw_only=True)
class Personalization:
    """A finished or interrupted run and its files."""

    folder: Path
    """Holds everything: learned files, README.md, results.json, metrics.jsonl, state/."""
    path: Path | None
    """What diffusers loads: learned_embeds.safetensors, pytorch_lora_weights.safetensors, or the folder of a pipeline.
    None when the run was stopped before its end, and on all processes but the main one."""
    token: str
    """The word to write in prompts."""
    finished: bool
    """False: stopped on request; call again with resume=True."""
    steps: int
    """Updates done."""
    trained_parameters: int
    """Numbers that were trained."""
    images: ImageReport
    before: dict[str, float] | None
    """Held-out denoising losses of the untouched model under "learnt", "initial_word", "plain" and "empty" prompts;
    None without held-out images."""
    after: dict[str, float] | None
    """The same, from the same noise and time steps, after training."""

    def push_to_hub(self, repository: str, *, private: bool = False, **card: Any) -> str:
        """Upload the finished result to a model repository of the hub; the address of the commit.

        `card`: see `tadp_personalize.hub.push.push_personalization`.
        """
        from tadp_personalize.hub.push import push_personalization

        return push_personalization(self.folder, repository, private=private, **card)
