"""What all tabs share: the components above them, and how errors reach the user."""

import functools
import html
from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from tadp_cli.app.images import InputImage
from tadp_cli.app.models import Models

FAST: dict[str, Any] = {
    "queue": False,
    "show_progress": "hidden",
    "trigger_mode": "always_last",
    "api_visibility": "private",
}
"""Of events while typing or dragging: the last one counts, and none waits for a queue."""
SLOW: dict[str, Any] = {"api_visibility": "private"}


class Shared(NamedTuple):
    """Components above the tabs, each of one session."""

    image: gr.State
    run: gr.Dropdown
    prompt: gr.Textbox


def guarded(models: Models) -> Callable[[Callable], Callable]:
    """Decorates an event's function: it has the models to itself, and what is wrong becomes one line on the page."""

    def decorate(function: Callable) -> Callable:
        @functools.wraps(function)
        def called(*values: Any) -> Any:
            try:
                with models.alone():
                    return function(*values)
            except (ValueError, OSError, RuntimeError) as error:
                line = " ".join(str(error).split())[:500]
                raise gr.Error(html.escape(line), duration=15, print_exception=False) from error

        return called

    return decorate


def needed(given: InputImage | None) -> InputImage:
    """ValueError where no image was chosen."""
    if given is None:
        raise ValueError("no image: choose a file, or take a Scene")
    return given
