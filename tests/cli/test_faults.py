"""Commands that are killed at any file operation, or refused one: the same command completes, and nothing is left.

Ten seeded points per command; all of them with `python3 tasks.py test --faults`.
"""

import errno
import json
import random
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from faults import DiskState, failing, states_of
from invoking import tadp
from same_files import differences
from typer.testing import CliRunner, Result

from tadp_cli.main import app
from tadp_cli.prediction import predictor
from tadp_heads.data.scenes.write import write_scenes

POINTS, REFUSALS = 8, 2
_TINY = ("train.batch_size=1", "train.size=32", "head.variant=ade", "head.width=8", "train.unet_lr_scale=0")


@dataclass(frozen=True)
class Command:
    """What is run, after what lies in the folder already."""

    arguments: Callable[[Path, Path], tuple]
    """(world, out) -> the command line."""
    begun_with: str = ""
    """Folder of the world that `out` is a copy of at first."""


def _set(*settings: str) -> list[str]:
    return [f"--set={setting}" for setting in settings]


def _train(world: Path, out: Path) -> tuple:
    steps = ("train.steps=2", "train.save_every=1", "train.eval_every=1", "train.keep=1", "prompt.kind=empty")
    return "train", "scenes-segmentation", "--data", world / "photos", "--out", out, *_set(*_TINY, *steps)


def _adapt(world: Path, out: Path) -> tuple:
    places = ("--source", world / "photos", "--target", world / "paintings" / "images", "--domain", "watercolor")
    return "adapt", *places, "--modifier", "simple", "--out", out, *_set(*_TINY, "train.steps=1")


COMMANDS = {
    "caption": Command(
        lambda world, out: (
            "caption",
            world / "photos",
            "--captioner",
            "tiny",
            "--batch-size",
            1,
            "--out",
            out / "captions.jsonl",
        )
    ),
    "train": Command(_train),
    "personalize": Command(
        lambda world, out: (
            "personalize",
            "--domain",
            "watercolor",
            "--images",
            world / "photos",
            "--steps",
            2,
            "--set",
            "held_out_timesteps=1",
            "--captioner",
            "none",
            "--out",
            out,
        )
    ),
    "adapt": Command(_adapt),
    "predict": Command(
        lambda world, out: ("predict", world / "run", world / "photos", "--batch-size", 2, "--out", out)
    ),
    "report": Command(lambda world, out: ("report", out, "--images", 2, "--shown", 1), begun_with="run"),
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Two data sets and a run, hardly trained."""
    root = tmp_path_factory.mktemp("world")
    for folder, domain, split, count in (
        ("photos", "photo", "train", 2),
        ("photos", "photo", "val", 1),
        ("paintings", "watercolor", "test", 1),
    ):
        write_scenes(
            root / folder, task="segmentation", domain=domain, split=split, count=count, seed=len(split), size=32
        )
    steps = _set(*_TINY, "train.steps=1", "prompt.kind=caption")
    tadp("train", "scenes-segmentation", "--data", root / "photos", "--out", root / "run", *steps)
    return root


class Undisturbed:
    """A command's folder where nothing went wrong, and the states on the way there."""

    def __init__(self, name: str, world: Path, root: Path):
        self.name, self.command, self.world = name, COMMANDS[name], world
        self.out, self.expected = root / "out", root / "expected"
        self.begin()
        self.states = states_of(self.run, self.out, root / "copies")
        shutil.copytree(self.out, self.expected)

    def begin(self) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        if self.command.begun_with:
            shutil.copytree(self.world / self.command.begun_with, self.out)

    def invoke(self) -> Result:
        arguments = self.command.arguments(self.world, self.out)
        return CliRunner().invoke(app, [str(argument) for argument in arguments])

    def run(self) -> None:
        result = self.invoke()
        assert result.exit_code == 0, result.output

    def completes(self) -> list[str]:
        """Run the command once more; what is wrong in its folder then."""
        result = self.invoke()
        if result.exit_code != 0:
            return [f"exit code {result.exit_code}: {result.output[-300:]} {result.exception!r}"]
        return differences(self.expected, self.out) + [f"ids twice in {file}" for file in _with_ids_twice(self.out)]


def _with_ids_twice(folder: Path) -> list[str]:
    found = []
    for file in folder.rglob("captions*.jsonl"):
        ids = [json.loads(line)["id"] for line in file.read_text().splitlines()]
        found += [file.name] if len(ids) != len(set(ids)) else []
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_the_same_command_completes_after_a_kill_and_after_a_refused_operation(
    name, world, tmp_path, pytestconfig, monkeypatch
):
    monkeypatch.setattr(predictor, "_WRITERS", 1)  # a recording follows one thread
    undisturbed = Undisturbed(name, world, tmp_path)
    everything = pytestconfig.getoption("faults")
    states, count = undisturbed.states, _operations(undisturbed.states)
    killed = states if everything else random.Random(0).sample(states, min(POINTS, len(states)))
    refused = range(count) if everything else random.Random(0).sample(range(count), min(REFUSALS, count))
    wrong = _killed(undisturbed, killed)
    consistent = len(killed) - len(wrong)
    sys.stdout.write(f"{name}: {len(killed)} of {len(states)} injection points, {consistent} consistent states; ")
    failed = _refused(undisturbed, refused)
    sys.stdout.write(
        f"{len(refused)} of {count} operations refused, {len(refused) - len(failed)} reported and resumed\n"
    )
    assert not wrong | failed, "\n".join(f"{point}: {what}" for point, what in (wrong | failed).items())


def _killed(undisturbed: Undisturbed, states: Sequence[DiskState]) -> dict[str, list[str]]:
    wrong = {}
    for state in states:
        state.put(undisturbed.out)
        wrong[f"killed before {state.before}"] = undisturbed.completes()
    return {point: found for point, found in wrong.items() if found}


def _refused(undisturbed: Undisturbed, points: Sequence[int]) -> dict[str, list[str]]:
    """From each of these operations on, a full disk, a read-only one, or no more open files."""
    wrong = {}
    for point in points:
        undisturbed.begin()
        code = (errno.ENOSPC, errno.EROFS, errno.EMFILE)[point % 3]
        with failing(undisturbed.out, point, code) as refused:
            result = undisturbed.invoke()
        if refused:
            output = [line for line in result.output.splitlines() if line.startswith("error: ")]
            left = [path.name for path in undisturbed.out.rglob(".*")] if undisturbed.out.exists() else []
            clear = result.exit_code == 1 and len(output) == 1 and str(undisturbed.out) in output[0] and not left
            found = [] if clear else [result.output[-300:], repr(result.exception), *left]
            wrong[f"{errno.errorcode[code]} at operation {point}, {refused[0]}"] = found + undisturbed.completes()
    return {point: found for point, found in wrong.items() if found}


def _operations(states: Sequence[DiskState]) -> int:
    return sum(state.before.split()[0] in ("open", "os.mkdir", "os.fsync") for state in states)
