"""`tadp app`: a web page on this machine for one's own runs."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption
from tadp_cli.console.progress import console


def app(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="[RUN...]", help="folders of `tadp train`; none: the tiny model")
    ] = None,
    host: Annotated[str, typer.Option(help="address to listen on; 0.0.0.0: all its addresses")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="port; 0: one that is free")] = 7860,
    labels: Annotated[Path, typer.Option(help="JSON Lines that accepted names are appended to")] = Path("labels.jsonl"),
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Show in a browser what each word does: maps while typing, predictions, the effect of words, labelling.

    Everything stays on this machine: no telemetry, no request to other servers, no upload elsewhere.

    Example: `tadp app runs/first`, then open the address that is printed
    """
    with one_line_errors():
        from importlib.util import find_spec

        if missing := [name for name in ("gradio", "fastapi", "uvicorn") if find_spec(name) is None]:
            raise RuntimeError(f"the web page needs {', '.join(missing)}: pip install 'tadp-cli[app]'")
        from tadp_cli.app.server import AppOptions, run_app
        from tadp_cli.run.finished import run_of

        found = [run_of(run) for run in runs or ()]
        for run in found:
            if not (run / "config.toml").is_file():
                raise FileNotFoundError(f"{run}: no run of `tadp train`; name a run's folder")

        def tell(line: str) -> None:
            console.print(line, markup=False, highlight=False, soft_wrap=True)

        run_app(found, AppOptions(host, port, device, labels), tell)
