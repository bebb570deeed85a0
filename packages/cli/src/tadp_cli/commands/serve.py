"""`tadp serve`: a run's model behind HTTP."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.progress import console


def serve(
    run: Annotated[Path, typer.Argument(help="folder of a run that `tadp train` made")],
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0: all its addresses")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port; 0: one that is free")] = 8000,
    device: Annotated[str, typer.Option(help="torch device, e.g. cpu or cuda:1; auto: a GPU if there is one")] = "auto",
    batch_size: Annotated[int, typer.Option(help="maximum images per batch")] = 8,
    queue: Annotated[int, typer.Option(help="maximum number of queued images; further requests are refused")] = 64,
    max_megapixels: Annotated[float, typer.Option(help="largest image in megapixels")] = 25.0,
    max_megabytes: Annotated[float, typer.Option(help="largest encoded image in MB")] = 20.0,
    plugin: Annotated[
        list[Path] | None,
        typer.Option("--plugin", metavar="FILE", help="a Python file that registers a head or task"),
    ] = None,
) -> None:
    """Answer POST /predict with the prediction for an image: mask, boxes or depth.

    Also GET /health, /metrics (Prometheus), /model and /docs (OpenAPI). Requests must carry the key of the environment
    variable TADP_SERVE_KEY, where it is set. Nothing is written to disk.

    Example: `tadp serve runs/first --port 8000`, then `curl --data-binary @photo.jpg localhost:8000/predict > mask.png`
    """
    with one_line_errors():
        from importlib.util import find_spec

        if missing := [name for name in ("fastapi", "uvicorn") if find_spec(name) is None]:
            raise RuntimeError(f"the server needs {', '.join(missing)}: pip install 'tadp-cli[serve]'")
        from tadp_cli.run.finished import run_of
        from tadp_cli.serve.options import ServeOptions
        from tadp_cli.serve.server import serve_run

        options = ServeOptions(
            host=host,
            port=port,
            device=device,
            batch_size=batch_size,
            queue=queue,
            max_megapixels=max_megapixels,
            max_megabytes=max_megabytes,
        )

        def tell(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        serve_run(run_of(run), options, plugin or (), tell)
