"""Serves the app on this machine until it is stopped."""

import os
import socket
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple


class AppOptions(NamedTuple):
    """Options."""

    host: str = "127.0.0.1"
    port: int = 7860
    """0: one that is free."""
    device: str = "cpu"
    labels: Path = Path("labels.jsonl")
    """Where accepted names go."""


def run_app(runs: Sequence[Path], options: AppOptions, tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `tell` gets the address when requests are taken."""
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # read when gradio is imported
    os.environ["DO_NOT_TRACK"] = "1"
    try:
        listening = socket.create_server((options.host, options.port))
    except OSError as error:
        address = f"{options.host}:{options.port}"
        raise OSError(f"cannot listen on {address} ({error.strerror}): choose another --port") from error
    with listening, tempfile.TemporaryDirectory(prefix="tadp-app-") as scratch:
        os.environ["GRADIO_TEMP_DIR"] = scratch
        tempfile.tempdir = scratch  # uploads and downloads are deleted when the server ends
        try:
            import uvicorn

            from tadp_cli.device import checked_device

            application = make_application(runs, options, checked_device(options.device))
            tell(f"http://{options.host}:{listening.getsockname()[1]}/  Ctrl-C stops; images stay on this machine")
            uvicorn.Server(uvicorn.Config(application, log_level="warning", timeout_graceful_shutdown=5)).run(
                sockets=[listening]
            )
        finally:
            tempfile.tempdir = None


def make_application(runs: Sequence[Path], options: AppOptions, device: str):  # type: ignore[no-untyped-def]
    """The FastAPI application with the page at /."""
    import gradio as gr
    from fastapi import FastAPI

    from tadp_cli.app.images import MAX_FILE
    from tadp_cli.app.interface import make_page
    from tadp_cli.app.markup import STYLE
    from tadp_cli.app.models import Models
    from tadp_cli.app.security import SameOrigin

    page = make_page(Models(runs, device), options.labels, Path("runs"))
    page.queue(default_concurrency_limit=2, max_size=64)
    theme = gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["ui-monospace", "monospace"])
    application = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    application.add_middleware(SameOrigin, host=options.host)
    return gr.mount_gradio_app(
        application, page, path="/", theme=theme, css=STYLE, max_file_size=MAX_FILE, footer_links=[], run_history=False,
        ssr_mode=False, allowed_paths=[], enable_monitoring=False, pwa=False, mcp_server=False, show_error=True,
        app_kwargs={"docs_url": None, "redoc_url": None, "openapi_url": None},
    )  # fmt: skip
