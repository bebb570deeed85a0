"""What the server sends to the process that holds the model, and what comes back."""

from dataclasses import dataclass, field
from typing import NamedTuple


class Job(NamedTuple):
    """One image."""

    image: bytes
    """The encoded file."""
    caption: str | None
    output: str
    """One of the model's `outputs`."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """The body of a response; a status other than 200 has one line of text."""

    body: bytes
    media_type: str
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def refusal(status: int, line: str, **headers: str) -> Answer:
    """An answer of one line that says what was wrong and what to do."""
    return Answer(body=f"{line}\n".encode(), media_type="text/plain; charset=utf-8", status=status, headers=headers)


@dataclass(frozen=True, kw_only=True)
class ModelInfo:
    """What a client needs to know of the model."""

    run: str
    task: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    """One RGB colour per class."""
    takes_caption: bool
    """Whether each image has a prompt of its own; without one the captioner writes it."""
    outputs: tuple[str, ...]
    """Forms of the result that can be asked for, the default first."""
    device: str
