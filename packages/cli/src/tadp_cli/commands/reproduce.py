"""`tadp reproduce ...`: a table, a figure or an analysis of the paper."""

from collections.abc import Iterable, MutableMapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from tadp_cli.config.paper_tables import load_table, table_names
from tadp_cli.console.cleaning_options import (
    BaseUrlOption,
    CleanerOption,
    MaxRequestsOption,
    MaxUsdOption,
    PriceOption,
    cleaning_limits,
)
from tadp_cli.console.errors import one_line_errors
from tadp_cli.console.launchers import require_one_process
from tadp_cli.console.options import DeviceOption
from tadp_cli.console.personalize_options import CountOption, PresetOption, RankOption, personalize_changes
from tadp_cli.console.progress import bars, console

if TYPE_CHECKING:
    from tadp_cli.config.paper_tables import Table
    from tadp_cli.experiments.reproduce.plan import Bench


class _Tables(TyperGroup):
    """Commands of its own, and one for each table; tables are read when a command is asked for."""

    _commands: MutableMapping[str, Any]
    _unread: bool

    @property
    def commands(self) -> MutableMapping[str, Any]:
        if self._unread:
            self._unread = False
            self._commands.update({name: _table_command(name) for name in table_names()})
        return self._commands

    @commands.setter
    def commands(self, own: MutableMapping[str, Any]) -> None:
        self._commands, self._unread = own, True


reproduce_app = typer.Typer(
    cls=_Tables, help="Reproduce a table, a figure or an analysis of the paper.", no_args_is_help=True
)


@reproduce_app.command("figure-4")
def figure_4(
    data: Annotated[Path | None, typer.Option(help="a segmentation data set; none: Scenes")] = None,
    split: Annotated[str, typer.Option(help="split of the data set")] = "val",
    images: Annotated[int, typer.Option(help="maximum number of images")] = 300,
    backbone: Annotated[str, typer.Option(help="a name, hub id, folder or file of Stable Diffusion")] = "tiny",
    device: DeviceOption = "auto",
) -> None:
    """Figure 4 as numbers: does an object's word attend to its object before any head is trained?

    Example: `tadp reproduce figure-4`
    """
    with one_line_errors():
        import tempfile

        from tadp_cli.experiments.pointing_game import pointing_game
        from tadp_cli.inputs.scenes_data import SEEDS, SOURCE
        from tadp_cli.pipelines.loading import loaded_backbone
        from tadp_cli.precision import FULL_PRECISION
        from tadp_heads.data.registry import open_data
        from tadp_heads.data.scenes.write import write_scenes

        with tempfile.TemporaryDirectory() as scratch:
            folder = data or Path(scratch) / SOURCE
            if data is None:
                write_scenes(folder, task="segmentation", domain=SOURCE, split=split, count=images, seed=SEEDS["val"])
            dataset = open_data(folder, "segmentation", split)
            shares = pointing_game(loaded_backbone(backbone, FULL_PRECISION, device), dataset, images)
        console.print("The maximum of a word's attention map lies on an object of its class, share of all words:")
        console.print(f"own word    {shares['own_word']:.3f}")
        console.print(f"other word  {shares['other_word']:.3f}   (the map of another object's word, same image)")
        console.print(f"chance      {shares['chance']:.3f}   (the class's share of the image)")


def _print_plan(table: "Table", bench: "Bench", rows: Sequence[str], seeds: int) -> None:
    from tadp_cli.experiments.reproduce.dry_run import dry_rows
    from tadp_cli.experiments.reproduce.plan import plan_runs

    for row in dry_rows(plan_runs(table, bench, rows, seeds), bench):
        console.print(f"{row.row}: {row.label}", markup=False, highlight=False, soft_wrap=True)
        for what, value in row.lines.items():
            console.print(f"  {what:16}{value}", markup=False, highlight=False, soft_wrap=True)


def _images_by_domain(texts: Iterable[str]) -> dict[str, str]:
    """ "comic=DIR" -> {"comic": DIR}."""
    found: dict[str, str] = {}
    for text in texts:
        domain, equals, folder = text.partition("=")
        if not (domain and equals and folder):
            raise ValueError(f"--images {text!r}: expected DOMAIN=FOLDER, e.g. comic=data/comic2k/comic")
        if domain in found:
            raise ValueError(f"--images names the domain {domain} twice, {found[domain]} and {folder}: name it once")
        found[domain] = folder
    return found


def _table_command(name: str) -> Any:
    def command(
        scale: Annotated[
            str, typer.Option(help="full: the paper's data and models; miniature: Scenes and the tiny models")
        ] = "miniature",
        row: Annotated[list[str] | None, typer.Option(help="row of the table; repeatable; default: all")] = None,
        seeds: Annotated[int, typer.Option(help="number of seeds; 0: the recipes'")] = 0,
        data: Annotated[
            list[str] | None,
            typer.Option(help="full scale: NAME:FOLDER of a data set that rows train on; one per data set"),
        ] = None,
        target: Annotated[
            list[str] | None,
            typer.Option(help="full scale: NAME:FOLDER of a data set that rows are evaluated on; one per data set"),
        ] = None,
        images: Annotated[
            list[str] | None,
            typer.Option(
                help="full scale: DOMAIN=FOLDER, or DOMAIN=NAME:FOLDER, of images of a domain; one per domain"
            ),
        ] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", help="key=value for all rows, e.g. train.precision=bf16")
        ] = None,
        fit: Annotated[
            str, typer.Option(help="memory, e.g. 24GB: picks batch size, accumulation, checkpointing and precision")
        ] = "",
        train_images: Annotated[int, typer.Option(help="training images per domain (miniature)")] = 500,
        scored_images: Annotated[int, typer.Option(help="evaluation images per domain (miniature)")] = 200,
        steps: Annotated[int, typer.Option(help="training steps; 0: the recipes'")] = 0,
        out: Annotated[Path | None, typer.Option(help="folder for the runs; finished runs are reused")] = None,
        only_plan: Annotated[
            bool,
            typer.Option("--dry-run", help="print data, prompt, schedule, memory and what is missing; run nothing"),
        ] = False,
        count: CountOption = None,
        rank: RankOption = None,
        preset: PresetOption = "",
        cleaner: CleanerOption = "",
        base_url: BaseUrlOption = None,
        price: PriceOption = None,
        max_usd: MaxUsdOption = 1.0,
        max_requests: MaxRequestsOption = None,
        device: DeviceOption = "auto",
    ) -> None:
        with one_line_errors():
            from tadp_cli.console.metric_tables import show_backbone_costs, show_costs, show_reproduction
            from tadp_cli.experiments.reproduce.plan import Bench
            from tadp_cli.experiments.reproduce.runner import COMMANDS_FILE, reproduce
            from tadp_cli.run.records import read_object
            from tadp_cli.run.run import RESULTS_FILE

            require_one_process("tadp reproduce")
            table = load_table(name)
            bench = Bench(
                out=out or Path("runs") / f"{name}-{scale}",
                scale=scale,
                data=tuple(data or ()),
                targets=tuple(target or ()),
                images=_images_by_domain(images or ()),
                settings=(
                    *(settings or ()),
                    *([f"test.cleaner={cleaner}"] if cleaner else ()),
                    *(f"{key}={value}" for key, value in personalize_changes(count, rank, preset).items()),
                ),
                limits=cleaning_limits(base_url, price, max_usd, max_requests),
                fit=fit,
                train_images=train_images,
                scored_images=scored_images,
                steps=steps,
                device=device,
            )
            if only_plan:
                _print_plan(table, bench, row or (), seeds)
                return
            with bars() as report:
                done = reproduce(table, bench, rows=row or (), seeds=seeds, report=report)
            show_reproduction(console, table, scale, done)
            show_costs(console, table, scale, [one.row for one in done])
            if table.costs:
                show_backbone_costs(console, table, read_object(bench.out / RESULTS_FILE, "costs")["costs"])
            console.print(f"runs: {bench.out}; the same by hand: {bench.out / COMMANDS_FILE}", soft_wrap=True)

    table = load_table(name)
    what = f"{table.title} of the paper" if table.of_the_paper else f"{table.title}, at small scale"
    reported = ", ".join(row.label for row in table.rows if row.reported)
    quoted = f". Reported by the paper from other work, not run: {reported}" if reported else ""
    command.__doc__ = f"""{what}: rows trained and evaluated{", with the paper's numbers" * table.of_the_paper}.

    Rows: {", ".join(row.name for row in table.rows if not row.reported)}{quoted}

    Example: `tadp reproduce {name} --row {table.rows[0].name} --seeds 1`
    """
    alone = typer.Typer(add_completion=False, rich_markup_mode="markdown")
    alone.command(name)(command)
    return typer.main.get_command(alone)
