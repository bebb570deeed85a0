"""Receivers of progress reports."""

from tadp_heads.training.protocols import Report

__all__ = ["Report", "note", "quiet"]


def note(report: Report, what: str, text: str) -> None:
    """Have a reporter that shows notes, such as `Bars`, show one with the work `what`."""
    shown = getattr(report, "note", None)
    if shown is not None:
        shown(what, text)


def quiet(what: str, done: int, total: int) -> None:
    """Report nothing."""
