"""The repository's everyday tasks; `python3 tasks.py` lists them.

Standard library only and readable by an old Python, so that this file runs before anything is installed and can say
what is missing. Every task but `setup` calls `setup` first, which does nothing when the environment is up to date.
"""

from __future__ import annotations

import hashlib
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent
MIN_PYTHON = (3, 11)
FRESH_GB = 9
"""Free disk a new environment needs: 6.3 GB in the end, and 2.7 GB of downloads on the way."""
UPDATE_GB = 2
"""Free disk to bring an existing environment up to date."""
EVERYTHING = "all"
"""In the stamp of a setup with the extras of all packages."""
QUIET_SECONDS = 20
"""Without a terminal: at most one line about pip's progress in this time."""

SIDE_BY_SIDE = ("--numprocesses=auto", "--maxprocesses=4", "--dist=worksteal")
"""One test process per core, up to 1.5 GB each. Neighbouring tests, which share fixtures, go to one process at first; a
process that is done early takes tests of another."""

ENVIRONMENTS = (
    {"ATEN_CPU_CAPABILITY": "default"},
    {"ATEN_CPU_CAPABILITY": "avx2"},
    {"ONEDNN_MAX_CPU_ISA": "AVX2"},
    {"OMP_NUM_THREADS": "1"},
    {"OMP_NUM_THREADS": "4", "OMP_WAIT_POLICY": "passive"},
)
"""What changes the last bits of results: vector instructions of torch and of oneDNN, and the number of threads. More
threads than cores must not spin while they wait."""
FAULTS = ("-rP", "--show-capture=stdout", "tests/cli/test_faults.py")
"""What counts the injection points of each command, and those with a consistent state."""

# The first match in pip's output names the cause, so what brings others about stands first: without a network pip ends
# with "No matching distribution" too.
CAUSES = (
    (
        "No space left on device|Errno 28",
        "The disk is full: free some space and run the same again.",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED|SSLError",
        "The registry's certificate was refused, perhaps by a proxy: tell pip of its certificate (PIP_CERT).",
    ),
    (
        "Name or service not known|Temporary failure in name resolution|getaddrinfo failed|nodename nor servname|"
        "NewConnectionError|Failed to establish a new connection|Network is unreachable|Connection refused|"
        "ConnectTimeout|ReadTimeout|Read timed out|Connection reset|ProxyError",
        "The package registry could not be reached: check the network (or the proxy settings) and run the same again.",
    ),
    (
        "ensurepip is not available|No module named .?(ensurepip|venv)",
        "This Python comes without venv: install it (on Debian and Ubuntu: apt install python3-venv).",
    ),
    (
        "ResolutionImpossible|conflicting dependencies",
        "Versions contradict each other: compare constraints.txt with the pyproject.toml files.",
    ),
    (
        "No matching distribution found for",
        "The registry has no build of that package for this Python and machine (tested: 3.11 to 3.13, 64-bit Linux).",
    ),
    (
        "MemoryError|Cannot allocate memory|Killed",
        "The machine ran out of memory: close other programs and run the same again.",
    ),
    (
        "Permission denied|Read-only file system",
        "A file or folder may not be written: check who owns this folder and the one for temporary files.",
    ),
)


class TaskError(Exception):
    """A failure explained in plain words; shown without a traceback."""


# ---------------------------------------------------------------------------------------------------- what is shown


class Progress:
    """Lines with the seconds since the start; on a terminal also one line that is rewritten while something runs."""

    def __init__(self) -> None:
        self.start = time.monotonic()
        self.is_terminal = sys.stdout.isatty()
        self._last = self.start

    def say(self, text: str) -> None:
        """A line that stays."""
        print(f"{self._wipe()}[{self._elapsed()}] {text}", flush=True)

    def tick(self, text: str) -> None:
        """The current step: rewritten on a terminal, else a line now and then."""
        if self.is_terminal:
            width = shutil.get_terminal_size().columns - 1
            print(self._wipe() + f"[{self._elapsed()}] {text}"[:width], end="", flush=True)
        elif time.monotonic() - self._last >= QUIET_SECONDS:
            self._last = time.monotonic()
            self.say(text[:100])

    def _wipe(self) -> str:
        return "\r\x1b[K" if self.is_terminal else ""

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self.start:5.0f} s"


def run_watched(command: list[str], progress: Progress, doing: str) -> tuple[int, list[str]]:
    """Runs quietly, showing the current step (`doing` until the output names one); returns exit code and all lines."""
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    arriving: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        for line in process.stdout:
            arriving.put(line.rstrip())
        arriving.put(None)

    threading.Thread(target=read, daemon=True).start()
    lines = []
    try:
        while True:
            try:
                line = arriving.get(timeout=1.0)
            except queue.Empty:  # a long download says nothing: the clock still runs
                progress.tick(doing)
                continue
            if line is None:
                return process.wait(), lines
            lines.append(line)
            if re.match(r"\s*[A-Z][a-z]+ing ", line):  # "Downloading ...", not the warnings between
                doing = line.strip()
                progress.tick(doing)
    finally:
        process.kill()  # no effect when it has ended
        process.wait()


def explain(lines: list[str]) -> str:
    """The plain-language cause of a failed installation, from what it printed."""
    output = "\n".join(lines)
    for pattern, cause in CAUSES:
        if re.search(pattern, output):
            return cause
    return "The lines above say what went wrong."


# ------------------------------------------------------------------------------------------------------------- setup


def members(root: Path) -> list[Path]:
    """The folders of the packages."""
    return sorted(path.parent for path in root.glob("packages/*/pyproject.toml"))


def fingerprint(root: Path, version: tuple[int, ...] = sys.version_info[:3]) -> str:
    """Changes with whatever makes the installed environment stale; the place too, since editable installs name it."""
    digest = hashlib.sha256(f"{root}\n{version}".encode())
    for path in (root / "pyproject.toml", root / "constraints.txt", *(m / "pyproject.toml" for m in members(root))):
        digest.update(b"\0" + path.relative_to(root).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def stamp_file(root: Path) -> Path:
    """Holds the fingerprint of the last setup that succeeded."""
    return root / ".venv" / "setup-stamp"


def is_current(root: Path, everything: bool = False) -> bool:
    """Whether the last successful setup still fits; `everything`: with the extras of all packages."""
    stamp = stamp_file(root)
    if not (executable(root, "python").exists() and stamp.exists()):
        return False
    return stamp.read_text().startswith(fingerprint(root)) and (has_extras(root) or not everything)


def has_extras(root: Path) -> bool:
    """Whether the last successful setup installed the extras of all packages."""
    return stamp_file(root).exists() and EVERYTHING in stamp_file(root).read_text().split()


def executable(root: Path, name: str) -> Path:
    """A program of the environment."""
    return root / ".venv" / ("Scripts" if os.name == "nt" else "bin") / (f"{name}.exe" if os.name == "nt" else name)


def check_python(version: tuple[int, ...] = sys.version_info[:3]) -> None:
    """Complains about an old Python, and names a newer one where there is one."""
    if tuple(version[:2]) >= MIN_PYTHON:
        return
    newer = next((name for name in ("python3.13", "python3.12", "python3.11") if shutil.which(name)), None)
    advice = f"run it with `{newer} tasks.py`" if newer else "install Python 3.11 or newer and run tasks.py with it"
    raise TaskError(f"This is Python {'.'.join(map(str, version))}; at least 3.11 is needed: {advice}.")


def check_disk(folder: Path, need_gb: float) -> None:
    """Complains before the download, not in the middle of it."""
    free_gb = shutil.disk_usage(folder).free / 1e9
    if free_gb < need_gb:
        raise TaskError(
            f"Too little disk: {folder} has {free_gb:.1f} GB free, the environment needs about {need_gb:g} GB. "
            "Free some space and run the same again."
        )


def environment_version(root: Path) -> str | None:
    """Python version of the existing environment as "3.11", or None when there is none that works."""
    python = executable(root, "python")
    if not python.exists():  # also a link whose target is gone
        return None
    code = "import sys, pip; print('%d.%d' % sys.version_info[:2])"
    result = subprocess.run([str(python), "-c", code], capture_output=True, text=True)
    return result.stdout.strip() if result.returncode == 0 else None


def development_tools(root: Path) -> list[str]:
    """The requirements of the root pyproject's `dev` group."""
    import tomllib  # from 3.11 on; this file must be importable by an older Python

    return tomllib.loads((root / "pyproject.toml").read_text())["dependency-groups"]["dev"]


def editable(root: Path, everything: bool) -> list[str]:
    """pip's arguments for the packages, `everything`: and what their extras need.

    Named by themselves: pip does not find a sibling's extra that one of another package asks for.
    """
    import tomllib

    arguments, needed = [], set()
    for folder in members(root):
        arguments += ["-e", str(folder)]
        extras = tomllib.loads((folder / "pyproject.toml").read_text())["project"].get("optional-dependencies", {})
        needed |= {requirement for extra in extras.values() for requirement in extra}
    return [*arguments, *sorted(name for name in needed if not name.startswith("tadp-"))] if everything else arguments


def setup(root: Path, progress: Progress, everything: bool = False) -> None:
    """Makes .venv with all packages and tools, in one pip command so that the siblings find each other.

    `everything`: with the extras of all packages; an environment that has them keeps them. Without pip's cache, a
    second copy of gigabytes: all that stays is in .venv.
    """
    check_python()
    everything = everything or has_extras(root)
    if is_current(root, everything):
        return
    fresh = environment_version(root) != "{}.{}".format(*sys.version_info[:2])
    need_gb = FRESH_GB if fresh else UPDATE_GB
    check_disk(root, need_gb)
    check_disk(Path(tempfile.gettempdir()), need_gb / 3)  # where pip puts its downloads
    stamp_file(root).unlink(missing_ok=True)
    if fresh:
        progress.say("setup: making .venv")
        install([sys.executable, "-m", "venv", "--clear", str(root / ".venv")], progress)
    names = ", ".join(folder.name for folder in members(root))
    progress.say(f"setup: installing {names} and what they need (some minutes; 6 GB, torch most of it)")
    pip = [str(executable(root, "python")), "-m", "pip", "--no-input", "--disable-pip-version-check", "install"]
    pip += ["--progress-bar", "off", "--no-cache-dir", "-c", str(root / "constraints.txt")]
    install([*pip, *editable(root, everything), *development_tools(root)], progress)
    stamp_file(root).write_text(f"{fingerprint(root)} {EVERYTHING}" if everything else fingerprint(root))
    progress.say("setup: done")


def install(command: list[str], progress: Progress) -> None:
    """Runs one step of the setup; a failure shows its last lines and the cause."""
    code, lines = run_watched(command, progress, "still at it")
    if code != 0:
        tail = "\n".join(f"    {line}" for line in lines[-15:] if line)
        raise TaskError(f"{tail}\nSetup failed (exit code {code}). {explain(lines)}")


# -------------------------------------------------------------------------------------------------------------- tasks


def commands_of(task: str, arguments: list[str], root: Path) -> list[list[str]]:
    """What a task runs, one command after the other; arguments of the user go last, so that they win."""
    if task == "demo":
        return [[str(executable(root, "tadp")), "demo", *arguments]]
    python = [str(executable(root, "python")), "-m"]
    if task == "test":
        kinds = [*["numerical"] * ("--everywhere" in arguments), *["not slow"] * ("--slow" not in arguments)]
        selection = ["-m", " and ".join(kinds)] if kinds else []
        given = [argument for argument in arguments if argument not in ("--slow", "--everywhere")]
        given = [*(FAULTS if "--faults" in given else ()), *given]
        return [[*python, "pytest", *SIDE_BY_SIDE, *selection, *given]]
    if task == "lint":
        ruff = [[*python, "ruff", "check", *arguments], [*python, "ruff", "format", "--check", *arguments]]
        return [*ruff, [*python, "mypy", *arguments]]
    if task == "bench":
        return [[*python, "pytest", "benchmarks", *arguments]]
    if task == "build":
        folders = [str(folder) for folder in members(root)]
        options = [
            "--no-deps",
            "--no-build-isolation",
            "--disable-pip-version-check",
            "--wheel-dir",
            str(root / "dist"),
        ]
        return [[*python, "pip", "wheel", *options, *arguments, *folders]]
    scripts = {"results": "benchmarks/result_pages.py", "docs": "docs/site/build.py", "release": ".ci/release.py"}
    if task in scripts:
        return [[python[0], scripts[task], *arguments]]
    return [[*python, "pretrain", *arguments]]


def run(task: str, arguments: list[str], root: Path, progress: Progress) -> int:
    """Runs a task's commands up to the first that fails; its exit code, else 0."""
    for command in commands_of(task, arguments, root):
        progress.say(f"{task}: {' '.join(['tadp' if task == 'demo' else 'python', *command[1:]])}")
        code = subprocess.call(command, cwd=root)
        if code != 0:
            progress.say(f"{task}: failed with exit code {code}")
            return code
    return 0


def run_everywhere(arguments: list[str], root: Path, progress: Progress) -> int:
    """Tests in every environment, whatever fails in others; the last exit code that is not 0, else 0."""
    lines, result = [], 0
    for environment in ENVIRONMENTS:
        name, start = " ".join(f"{key}={value}" for key, value in environment.items()), time.monotonic()
        progress.say(f"test: with {name}")
        (command,) = commands_of("test", arguments, root)
        code = subprocess.call(command, cwd=root, env={**os.environ, **environment})
        lines.append(f"{name:44} {time.monotonic() - start:5.0f} s  {'passed' if code == 0 else f'exit code {code}'}")
        result = code or result
    print("\n".join(lines), flush=True)
    return result


TASKS = {
    "setup": "make .venv with the five packages and the tools (nothing to do when it is up to date); --all with the"
    " packages' extras",
    "demo": "the whole cross-domain workflow with the shipped tiny models; writes runs/demo",
    "test": "the tests; --slow for the slow ones too; --everywhere for the numerical ones with other processors'"
    " instructions and other threads; --faults for kills at any file operation; paths and options go to pytest",
    "lint": "ruff and mypy: rules, formatting and types",
    "bench": "the benchmarks; options go to pytest",
    "results": "write the pages of docs/results from the results files next to them, and README's table",
    "docs": "the documentation as a site in site/, built strictly; options go to mkdocs",
    "release": "VERSION writes it to all files; --dry-run checks all that a release needs, and builds its wheels",
    "build": "the five packages as wheels in dist/, which any Python from 3.11 on installs; options go to pip",
    "pretrain": "train the tiny models anew; options go to the script (--help lists them)",
}


def usage() -> str:
    """The list of tasks."""
    lines = [f"  {name:9} {text}" for name, text in TASKS.items()]
    return "\n".join(["python3 tasks.py TASK [ARGUMENTS]", "", *lines])


def main(arguments: list[str]) -> int:
    """Runs one task; 0 is success, 2 wrong use, and else what the failing command gave back."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    task, *rest = arguments
    if task not in TASKS or (task == "setup" and rest not in ([], ["--all"])):
        print(f"No task {' '.join(arguments)!r}; there are:\n\n{usage()}", file=sys.stderr)
        return 2
    progress = Progress()
    try:
        setup(ROOT, progress, everything=task == "setup" and "--all" in rest)
        if task == "setup":
            progress.say(f"{ROOT / '.venv'} is up to date")
            return 0
        everywhere = task == "test" and "--everywhere" in rest
        code = run_everywhere(rest, ROOT, progress) if everywhere else run(task, rest, ROOT, progress)
        if code != 0:
            return code
    except TaskError as error:
        progress.say(str(error))
        return 1
    except OSError as error:
        progress.say(f"{error}. {explain([str(error)])}")
        return 1
    except KeyboardInterrupt:
        progress.say(f"{task}: interrupted")
        return 130
    progress.say(f"{task}: done")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
