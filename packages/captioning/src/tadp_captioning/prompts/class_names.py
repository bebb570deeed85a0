"""Prompts made of class names alone: all of them, or those an oracle knows to be present (paper 4.1)."""

from collections.abc import Collection, Sequence


def class_names_prompt(classes: Sequence[str]) -> str:
    """All class names, in label order, joined by spaces: one prompt for every image."""
    return " ".join(classes)


def oracle_prompt(present: Collection[str], classes: Sequence[str]) -> str:
    """The class names present in one image, in the order of `classes`, joined by spaces; "" where none is.

    Paper, Eq. 5. ValueError for a class that is not one of `classes`.
    """
    unknown = set(present) - set(classes)
    if unknown:
        raise ValueError(f"unknown class {sorted(unknown)[0]!r}; expected names among: {', '.join(classes)}")
    return " ".join(name for name in classes if name in set(present))
