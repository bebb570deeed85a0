"""`tadp benchmark`: milliseconds and memory of a run's model on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.options import DeviceOption, PluginOption
from tadp_cli.console.progress import bars, console


def benchmark(
    run: Annotated[Path, typer.Argument(help="folder of a run that `tadp train` made")],
    size: Annotated[
        list[str] | None, typer.Option(help="HxW in pixels; repeatable; default: 256x256 and 512x512")
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="fp32, tf32, bf16 or fp16; repeatable; default: fp32 and bf16")
    ] = None,
    batch_size: Annotated[list[int] | None, typer.Option(help="images per pass; repeatable; default: 1")] = None,
    json: Annotated[Path | None, typer.Option("--json", help="JSON file for the results")] = None,
    device: DeviceOption = "auto",
    plugin: PluginOption = None,
) -> None:
    """Measure milliseconds per image and peak memory for each size, precision and batch size.

    Example: `tadp benchmark runs/first --size 512x512 --precision fp32 --precision bf16 --json costs.json`
    """
    with one_line_errors():
        from tadp_cli.deployment.benchmark import benchmark_run
        from tadp_cli.deployment.export import size_of
        from tadp_cli.run.finished import run_of
        from tadp_heads.atomic_files import write_json

        given = [size_of(text) for text in size or ("256x256", "512x512")]
        sizes = [pixels for pixels in given if isinstance(pixels, tuple)]
        if len(sizes) < len(given):
            raise ValueError("--size: expected height x width in pixels, such as 512x512")
        with bars() as report:
            found = benchmark_run(
                run_of(run), sizes, precision or ["fp32", "bf16"], batch_size or [1], device=device, report=report
            )
        console.print(f"{found['run']} on {found['device']}", markup=False, highlight=False, soft_wrap=True)
        console.print("size        precision  batch  ms/image  memory in MB", markup=False, highlight=False)
        for cost in found["costs"]:
            pixels = f"{cost['height']}x{cost['width']}"
            memory = "not known" if cost["memory_mb"] is None else f"{cost['memory_mb']:.0f}"
            line = (
                f"{pixels:<11} {cost['precision']:<9} {cost['batch_size']:>6} {cost['milliseconds']:>9.1f} {memory:>13}"
            )
            console.print(line, markup=False, highlight=False)
        if json is not None:
            write_json(json, found)
