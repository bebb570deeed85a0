"""Settings of a task's loss."""

from collections.abc import Mapping
from inspect import Parameter, signature
from typing import Any

from tadp_heads.schema import checked
from tadp_heads.segmentation.loss import LOSSES, check_loss
from tadp_heads.tasks import Task


def check_options(task: Task, options: Mapping[str, Any]) -> None:
    """Refuse settings that the task's loss does not have, and values that it does not take."""
    functions = [task.loss]
    if task.name == "segmentation":  # what it doesn't know itself it gives to the loss that `kind` names
        kind = options.get("kind", signature(task.loss).parameters["kind"].default)
        functions += [LOSSES[kind]] if kind in LOSSES else []
    parameters = [p for function in functions for p in signature(function).parameters.values()]
    known = {p.name: p.annotation for p in parameters if p.kind is Parameter.KEYWORD_ONLY}
    known.pop("ignore_index", None)  # as the data has it
    for name, value in options.items():
        if name not in known:
            there = f"choose from {', '.join(known)}" if known else f"the loss of {task.name} has none"
            raise ValueError(f"settings of loss: unknown {name!r}; {there}")
        checked(value, known[name], ("loss", name))
    if task.name == "segmentation":
        check_loss(**options)
