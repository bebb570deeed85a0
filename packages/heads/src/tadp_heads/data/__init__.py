"""Data sets of the three tasks: readers of the official layouts and of a user's own folders, and their checks."""

from tadp_heads.data.check.dataset import CheckReport
from tadp_heads.data.errors import DataError
from tadp_heads.data.sample import IGNORE_INDEX, Sample, SampleDataset

__all__ = ["IGNORE_INDEX", "CheckReport", "DataError", "Sample", "SampleDataset"]
