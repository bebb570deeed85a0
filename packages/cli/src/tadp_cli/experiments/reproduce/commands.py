"""The commands that make a reproduction's runs by hand: captions, cleaning, personalization, training, evaluation."""

import shlex
from pathlib import Path
from typing import Any

from tadp_captioning import CleaningLimits
from tadp_captioning.cleaning.factory import NO_LIMITS_GIVEN, RULES
from tadp_cli.config.paper_tables import Table
from tadp_cli.config.recipe import Recipe, load_recipe
from tadp_cli.config.schema import parse, toml
from tadp_cli.experiments.reproduce.plan import Bench, PlannedRun, images_of_domain
from tadp_cli.experiments.unseen_domains import DomainData
from tadp_cli.inputs.prepare import LEARNED, captions_path, clean_path, domain_folder
from tadp_cli.inputs.scenes_data import SOURCE
from tadp_cli.run.resume import flat_settings
from tadp_heads.data.registry import split_name
from tadp_heads.data.split_images import domain_split


def commands_of(
    table: Table, planned: PlannedRun, ready: Recipe, bench: Bench, unseen: dict[str, DomainData]
) -> list[str]:
    """One line each, in the order in which they are run; `ready`: the recipe with all that it names made."""
    lines = _caption_lines(planned, ready, bench)
    if ready.prompt.modifier in LEARNED:
        lines.append(_personalize_line(ready, bench))
    lines.append(train_line(table.recipe_name(planned.row, bench.scale), ready, planned.run, bench.device))
    if bench.scale == "full":
        lines += [
            _eval_line(ready, planned.run, how, bench.device)
            for how in table.metrics.values()
            if isinstance(how, str) and how
        ]
    for domain in unseen.values():
        if domain.captions is not None:
            lines += _caption(ready, domain.folder, (domain.split,), bench)
            raw = captions_path(ready, domain.folder, bench.out)
            if raw != domain.captions:
                lines.append(_clean_line(raw, domain.name, ready.test.cleaner, bench.limits))
        lines.append(domain.command(planned.run, bench.device))
    return lines


def train_line(name: str, ready: Recipe, run: Path, device: str) -> str:
    """`tadp train` with every setting that differs from the recipe of this name."""
    before = flat_settings(load_recipe(name))
    changed = {key: value for key, value in flat_settings(ready).items() if value != before.get(key)}
    line = ["tadp", "train", name, "--out", str(run), "--device", device]
    for key, value in ({"train.seed": ready.train.seed} | changed).items():
        line += ["--set", f"{key}={_written(value)}"]
    return shlex.join(line)


def _written(value: Any) -> str:
    """As `--set` reads it back: text without quotes where it is not also something else in TOML."""
    return value if isinstance(value, str) and parse(value) == value else toml(value)


def _caption_lines(planned: PlannedRun, ready: Recipe, bench: Bench) -> list[str]:
    """Captions of the data, and of the target without the words for its domain."""
    before, lines = planned.recipe, []
    if ready.data.captions != before.data.captions:
        raw = captions_path(ready, ready.data.folder, bench.out)
        lines += _caption(ready, ready.data.folder, (ready.data.train, ready.data.val), bench)
        if (planned.row.domains or SOURCE) != SOURCE:
            lines.append(_clean_line(raw, None))
    if ready.test.captions != before.test.captions:
        lines += _caption(ready, ready.test.folder, (ready.test.split,), bench)
        raw = captions_path(ready, ready.test.folder, bench.out)
        lines.append(_clean_line(raw, ready.prompt.domain, ready.test.cleaner, bench.limits))
    return lines


def _caption(recipe: Recipe, folder: str, splits: tuple[str, ...], bench: Bench) -> list[str]:
    """A line per split of a named data set; a user's folder is captioned whole."""
    line = ["tadp", "caption", folder, "--captioner", recipe.captioner, "--min-tokens", str(recipe.data.min_tokens)]
    line += ["--device", bench.device, "--out", str(captions_path(recipe, folder, bench.out))]
    if split_name(folder)[0] is None:
        return [shlex.join(line)]
    return [shlex.join([*line, "--split", split]) for split in splits]


def _clean_line(raw: Path, domain: str | None, cleaner: str = RULES, limits: CleaningLimits = NO_LIMITS_GIVEN) -> str:
    line = ["tadp", "captions", "clean", str(raw), "--out", str(clean_path(raw, cleaner)), "--domain", domain or "all"]
    if cleaner != RULES:
        line += ["--cleaner", cleaner, "--max-usd", str(limits.max_usd)]
        line += ["--base-url", limits.base_url] if limits.base_url else []
        line += ["--price", ",".join(map(str, limits.price))] if limits.price else []
        line += ["--max-requests", str(limits.max_requests)] if limits.max_requests else []
    return shlex.join(line)


def _personalize_line(ready: Recipe, bench: Bench) -> str:
    domain, method, how = ready.prompt.domain, ready.prompt.modifier, ready.personalize
    images = bench.out / "domains" / domain / "images"
    line = ["tadp", "personalize", "--domain", domain, "--method", method, "--backbone", ready.backbone.source]
    if bench.scale == "miniature":
        line += ["--images", str(images / "learn"), "--held-out", str(images / "held_out")]
    else:
        where = images_of_domain(ready, bench)
        split = how.split or domain_split(where)
        line += ["--images", where, *(["--split", split] if split else [])]
    line += ["--count", str(how.count)] if how.count else []
    line += ["--seed", str(how.seed), *(["--preset", how.preset] if how.preset else [])]
    line += ["--rank", str(how.rank)] if how.rank and method == "dreambooth" else []
    return shlex.join(
        [*line, "--device", bench.device, "--out", str(domain_folder(bench.out, domain, method, how.rank))]
    )


def _eval_line(ready: Recipe, run: Path, protocol: str, device: str) -> str:
    line = ["tadp", "eval", str(run), "--protocol", protocol, "--device", device]
    if ready.test.folder:
        line += ["--data", ready.test.folder, "--split", ready.test.split]
        line += ["--captions", ready.test.captions] if ready.test.captions else []
    return shlex.join(line)
