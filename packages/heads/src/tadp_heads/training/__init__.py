"""Training and evaluation of a model on any backbone and any text: `fit`, `evaluate`, `measure`, `TrainConfig`.

Needs the extra `tadp-heads[train]`.
"""

from importlib import import_module
from typing import Any

_EXPORTS = {
    "Evaluation": "evaluation",
    "ModelContexts": "contexts",
    "SelfTrainingConfig": "self_training.config",
    "SharedContext": "contexts",
    "StoppedError": "loop",
    "TargetDomain": "self_training.learner",
    "TrainConfig": "config",
    "evaluate": "evaluation",
    "fit": "loop",
    "measure": "evaluation",
}

__all__ = [
    "Evaluation",
    "ModelContexts",
    "SelfTrainingConfig",
    "SharedContext",
    "StoppedError",
    "TargetDomain",
    "TrainConfig",
    "evaluate",
    "fit",
    "measure",
]


def __getattr__(name: str) -> Any:
    # torch and accelerate take seconds to import; a name brings them in when it is first asked for.
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS[name]}"), name)
