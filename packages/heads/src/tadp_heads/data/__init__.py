"""Data sets of the three tasks: readers of the official layouts and of a user's own folders, and their checks."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tadp_heads.data.check.dataset import CheckReport
    from tadp_heads.data.errors import DataError
    from tadp_heads.data.sample import IGNORE_INDEX, Sample, SampleDataset

__all__ = ["IGNORE_INDEX", "CheckReport", "DataError", "Sample", "SampleDataset"]
_EXPORTS = {"CheckReport": "check.dataset", "DataError": "errors"}
"""{name: its module}; the others are in sample."""


def __getattr__(name: str) -> Any:
    # torch takes seconds to import; a name brings it in when it is first asked for.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_EXPORTS.get(name, 'sample')}"), name)
