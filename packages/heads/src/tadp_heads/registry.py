"""Tasks and heads by name; a decorator adds one of the user's own."""

from collections.abc import Callable
from pkgutil import resolve_name
from typing import Any, TypeVar

from tadp_heads._registry import Registry
from tadp_heads.registered_head import is_recorded, recording

Part = TypeVar("Part", bound=type)

# Built-in parts are named by their place, and imported when they are asked for.
TASKS = Registry(
    "task",
    {
        "segmentation": "tadp_heads.segmentation.task:SegmentationTask",
        "depth": "tadp_heads.depth.task:DepthTask",
        "detection": "tadp_heads.detection.task:DetectionTask",
    },
)
_HEADS = {
    "segmentation": Registry(
        "segmentation head",
        {"fpn": "tadp_heads.segmentation.head:FPNHead", "bn-linear": "tadp_heads.segmentation.linear:LinearHead"},
    ),
    "depth": Registry("depth head", {"vpd": "tadp_heads.depth.head:DepthHead"}),
    "detection": Registry("detection head", {"faster-rcnn": "tadp_heads.detection.head:FasterRCNNHead"}),
}
_ARGUMENTS = {"depth": ("levels",)}
"""{task: the arguments that it gives to each of its heads}."""
_WITH_CLASSES = ("levels", "num_classes")


def register_task(name: str) -> Callable[[Part], Part]:
    """Decorate a class that implements `tadp_heads.tasks.Task`; it is called without arguments.

    ValueError for a taken name.
    """

    def register(cls: Part) -> Part:
        TASKS.add(name, cls)
        return cls

    return register


def register_head(task: str, name: str) -> Callable[[Part], Part]:
    """Decorate an `nn.Module` that implements `tadp_heads.tasks.Head`; `head.name` of a recipe chooses it by `name`.

    The module records the arguments of its constructor, from which a saved model is rebuilt: they are values of JSON,
    in addition to `levels`, the feature levels as (channels, stride), finest first. ValueError for an unknown task, a
    taken name, and a constructor that takes other arguments first.
    """

    def register(cls: Part) -> Part:
        heads_of(task).add(name, recording(cls, _ARGUMENTS.get(task, _WITH_CLASSES)))
        return cls

    return register


def heads_of(task: str) -> Registry:
    """{name: head class, or its place} of a task."""
    TASKS.check(task)
    return _HEADS.setdefault(task, Registry(f"{task} head", {}))


def head_class(task: str, name: str) -> Any:
    """The class of a task's head by its name."""
    heads_of(task).check(name)
    return _resolved(heads_of(task)[name])


def head_name(task: str, head: Any) -> str | None:
    """The name that the task has for the class of a head, which is saved by its recorded arguments; None for an unknown
    one, and for the built-in one that has a config."""
    if not is_recorded(type(head)):
        return None
    place = f"{type(head).__module__}:{type(head).__qualname__}"
    return next((name for name, cls in heads_of(task).data.items() if cls in (type(head), place)), None)


def get_task(name: str) -> Any:
    """The task of that name, a `tadp_heads.tasks.Task`; ValueError for an unknown one."""
    TASKS.check(name)
    return _resolved(TASKS[name])()


def _resolved(part: Any) -> Any:
    return resolve_name(part) if isinstance(part, str) else part
