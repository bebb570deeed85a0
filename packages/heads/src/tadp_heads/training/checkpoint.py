"""The states from which a run resumes: files in state/, each written atomically, the last few kept."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tadp_heads.atomic_files import replacing
from tadp_heads.training._read_errors import reading
from tadp_heads.training.parallel.fsdp import as_kept

STATE_FOLDER = "state"


@dataclass(frozen=True, kw_only=True)
class Stateful:
    """What changes in training. Draws need no state: they are functions of the seed and their place alone."""

    trained: Mapping[str, nn.Parameter]
    buffers: Mapping[str, Tensor]
    """Running statistics."""
    optimizer: Any
    scaler: Any = None
    """Of the loss, in half precision."""
    average: Any = None
    """Moving average of the weights."""
    self_training: Any = None
    """Teacher, thresholds and monitor of self-training."""

    def state(self) -> dict[str, Any]:
        """All of it, to be saved."""
        return {
            "trained": {name: parameter.detach() for name, parameter in self.trained.items()},
            "buffers": dict(self.buffers),
            "optimizer": self.optimizer.state_dict(),
            "scaler": {} if self.scaler is None else self.scaler.state_dict(),
            "average": {} if self.average is None else self.average.state_dict(),
            "self_training": {} if self.self_training is None else self.self_training.state_dict(),
        }

    @torch.no_grad()
    def load(self, state: Mapping[str, Any]) -> None:
        """Put a saved state in."""
        for key, tensor in self.buffers.items():
            tensor.copy_(state["buffers"][key])
        for key, parameter in self.trained.items():
            parameter.copy_(as_kept(state["trained"][key], parameter))
        self.optimizer.load_state_dict(self._moments(state["optimizer"]))
        if self.scaler is not None:
            self.scaler.load_state_dict(state["scaler"])
        if self.average is not None:
            parameters = self.trained.values()
            weights = [as_kept(t, p) for t, p in zip(state["average"]["shadow_params"], parameters, strict=True)]
            self.average.load_state_dict({**state["average"], "shadow_params": weights})
        if self.self_training is not None:
            self.self_training.load_state_dict(state["self_training"])

    def _moments(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """The optimizer's state, each parameter's as the parameter is kept."""
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        kept = {
            index: {name: as_kept(tensor, parameters[index]) for name, tensor in moments.items()}
            for index, moments in saved["state"].items()
        }
        return {**saved, "state": kept}


def digest_of(ids: Sequence[str]) -> str:
    """A short hash of image ids in their order."""
    return hashlib.sha256("\n".join(ids).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def save_state(run: Path, step: int, state: Mapping[str, Any], keep: int) -> None:
    """Write the state after `step` updates, then remove all but the last `keep`."""
    path = run / STATE_FOLDER / f"step_{step:08d}.pt"
    try:
        with replacing(path) as partial, partial.open("wb") as file:
            torch.save({"step": step, **state}, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:  # torch reports a write that was cut short as a RuntimeError
        last = last_state(run)
        raise RuntimeError(
            f"the state after step {step} could not be written ({error}): make room on the disk and add --resume; "
            f"the last good state is {last or 'none: nothing was saved before'}"
        ) from error
    remove_old_states(run, keep)


def remove_old_states(run: Path, keep: int) -> None:
    """All but the last `keep`."""
    for old in _states(run)[:-keep]:
        old.unlink()


def last_state(run: Path) -> Path | None:
    """File of the newest state."""
    states = _states(run)
    return states[-1] if states else None


def read_state(path: Path) -> dict[str, Any]:
    """The state, on the CPU."""
    with reading_state(path):
        return torch.load(path, weights_only=True, map_location="cpu")


def load_last(run: Path, parts: Stateful, ids: Sequence[str]) -> int:
    """Put the run's newest state into the parts; the number of steps done, 0 where there is no state.

    `ids`: of the images that the run now has; ValueError where it was begun on others.
    """
    path = last_state(run)
    if path is None:
        return 0
    state = read_state(path)
    if state.get("images", images := digest_of(ids)) != images:
        raise ValueError(
            f"{run} was begun on other images than the {len(ids)} that its split has now: restore the split, or name "
            "another --out"
        )
    with reading_state(path):
        parts.load(state)
        return state["step"]


def reading_state(path: Path) -> AbstractContextManager[None]:
    """Around all that may find a state malformed."""
    return reading(path, "it is no state of this run as it was saved: delete it to resume from an earlier one")


def _states(run: Path) -> list[Path]:
    """Oldest first."""
    return sorted(path for path in (run / STATE_FOLDER).glob("step_*.pt") if re.fullmatch(r"step_\d+\.pt", path.name))
