"""Receivers of progress reports."""

from tadp_heads.training.protocols import Report

__all__ = ["Report", "quiet"]


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""
