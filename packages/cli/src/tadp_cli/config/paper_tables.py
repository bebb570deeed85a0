"""Tables of experiments, the paper's and ours: one TOML file each, its rows recipes at full and at small scale.

A row is its table's base recipe with the row's changes. `load_recipe("table-1/tadp-40")` is the experiment at full
scale, `load_recipe("table-1-miniature/tadp-40")` the same one in the small-scale setting: Scenes and the tiny models.
"""

import tomllib
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any

SCALES = ("full", "miniature")
_SUFFIX = "-miniature"
_ROW_KEYS = ("label", "target", "scales", "domains", "full", "miniature", "reported", "paper_costs")
"""Keys of a row itself; all others are settings of its recipe, at both scales."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table."""

    name: str
    label: str
    """The paper's name, for rows of the paper."""
    target: dict[str, float]
    """{metric: the paper's number}, shares as 0..1, depth errors in metres; empty for a control of ours."""
    scales: tuple[str, ...]
    """Those of SCALES at which it can be run; () for a row that the paper quotes from other work."""
    domains: str = ""
    """The domains of Scenes that the small-scale row trains on, such as "photo+night"; empty: photo."""
    paper_costs: dict[str, float] = field(default_factory=dict)
    """The paper's {"parameters": number, "flops": number} of the method, where it gives them."""

    @property
    def reported(self) -> bool:
        """Whether the paper quotes it from other work: it is listed with the others and cannot be run."""
        return not self.scales


@dataclass(frozen=True, kw_only=True)
class DomainTest:
    """A further test of the small-scale table: Scenes in another domain."""

    domain: str
    modifier: str = "null"
    """How prompts name the domain."""


@dataclass(frozen=True, kw_only=True)
class Average:
    """A mean over rows, such as a method's over both of its targets (paper 4.3)."""

    label: str
    rows: tuple[str, ...]
    target: dict[str, float]
    """{metric: the paper's number}."""


@dataclass(frozen=True, kw_only=True)
class Table:
    """One table."""

    name: str
    title: str
    metrics: dict[str, str | DomainTest]
    """{metric: the protocol of its evaluation, "" for the recipe's own, or a test in a domain}; "mIoU (ms)" is mIoU."""
    rows: tuple[Row, ...]
    averages: tuple[Average, ...] = ()
    costs: bool = False
    """Whether each row's backbone is listed with what it costs."""

    @property
    def of_the_paper(self) -> bool:
        """Whether it has numbers of the paper."""
        return any(row.target for row in self.rows)

    def recipe_name(self, row: Row, scale: str) -> str:
        """What `load_recipe` takes."""
        return f"{self.name}{_SUFFIX if scale == 'miniature' else ''}/{row.name}"


def table_names() -> tuple[str, ...]:
    """The tables that are here."""
    return tuple(sorted(f.name.removesuffix(".toml") for f in _folder().iterdir() if f.name.endswith(".toml")))


def load_table(name: str) -> Table:
    """One of `table_names()`."""
    tree = _read(name)
    rows = tuple(
        Row(
            name=row,
            label=values["label"],
            target=values.get("target", {}),
            scales=_scales(values),
            domains=values.get("domains", ""),
            paper_costs=values.get("paper_costs", {}),
        )
        for row, values in tree["rows"].items()
    )
    metrics = {key: DomainTest(**how) if isinstance(how, dict) else how for key, how in tree["metrics"].items()}
    averages = tuple(
        Average(label=values["label"], rows=tuple(values["rows"]), target=values["target"])
        for values in tree.get("averages", ())
    )
    return Table(
        name=name, title=tree["title"], metrics=metrics, rows=rows, averages=averages, costs=tree.get("costs", False)
    )


def row_tree(name: str) -> dict[str, Any] | None:
    """The settings of "TABLE/ROW" or "TABLE-miniature/ROW" with the `base` they change; None: no such row."""
    table, _, row = name.partition("/")
    scale = "miniature" if table.endswith(_SUFFIX) else "full"
    table = table.removesuffix(_SUFFIX)
    if table not in table_names():
        return None
    tree = _read(table)
    values = tree["rows"].get(row)
    if values is None or scale not in _scales(values):
        return None
    changes = {key: value for key, value in values.items() if key not in _ROW_KEYS}
    own = {"base": tree.get(scale), "description": f"{tree['title']}: {values['label']}", **changes}
    for key, value in values.get(scale, {}).items():
        own[key] = {**own.get(key, {}), **value} if isinstance(value, dict) else value
    if scale == "full" and values.get("target"):
        own["target"] = {"metrics": values["target"], "source": f"paper, {tree['title']}, {values['label']}"}
    return own


def _scales(values: dict[str, Any]) -> tuple[str, ...]:
    return () if values.get("reported") else tuple(values.get("scales", SCALES))


def row_names() -> tuple[str, ...]:
    """All that `row_tree` knows."""
    tables = [load_table(name) for name in table_names()]
    return tuple(t.recipe_name(row, scale) for t in tables for row in t.rows for scale in row.scales)


def paper_tables() -> dict[str, tuple[str, ...]]:
    """{recipe: the paper's tables with rows that change it}."""
    found: dict[str, dict[str, None]] = {}
    for name in row_names():
        tree = row_tree(name)
        if tree is not None and "target" in tree:
            found.setdefault(tree["base"], {})[name.partition("/")[0]] = None
    return {base: tuple(tables) for base, tables in found.items()}


def _read(name: str) -> dict[str, Any]:
    if name not in table_names():
        raise ValueError(f"unknown table {name!r}; choose from {', '.join(table_names())}")
    return tomllib.loads(_folder().joinpath(f"{name}.toml").read_text(encoding="utf-8"))


def _folder() -> Any:
    return files("tadp_cli.recipes").joinpath("tables")
