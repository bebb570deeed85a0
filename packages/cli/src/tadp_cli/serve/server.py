"""Serves requests until it is stopped."""

import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from tadp_cli.serve.options import KEY_VARIABLE, ServeOptions
from tadp_cli.serve.worker import Worker

_GRACE_SECONDS = 30
"""Seconds for answering the requests that arrived before the server was stopped."""


def serve_run(run: Path, options: ServeOptions, plugins: Sequence[Path], tell: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM; `tell` gets the address when requests are taken."""
    import uvicorn

    from tadp_cli.serve.app import make_app

    try:
        listening = socket.create_server((options.host, options.port))
    except OSError as error:
        address = f"{options.host}:{options.port}"
        raise OSError(f"cannot listen on {address} ({error.strerror}): choose another --port") from error
    worker = Worker(run, options.device, plugins)
    with listening:
        try:
            info = worker.start()
            app = make_app(worker, info, options, os.environ.get(KEY_VARIABLE) or None)
            port = listening.getsockname()[1]
            guard = f"with the key of {KEY_VARIABLE}" if os.environ.get(KEY_VARIABLE) else "without a key"
            tell(f"{info.task} of {run} on http://{options.host}:{port} {guard}; Ctrl-C stops")
            config = uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=_GRACE_SECONDS)
            uvicorn.Server(config).run(sockets=[listening])
        finally:
            worker.stop()
