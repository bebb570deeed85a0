"""Releases: one version in all files, and what is checked before one; `python3 tasks.py release` runs it."""

import argparse
import re
import subprocess
import sys
import tomllib
import zipfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UNRELEASED = "## Unreleased"
_VERSION = r"\d+\.\d+\.\d+(?:(?:a|b|rc)\d+)?"
PLACES = (
    ("packages/*/pyproject.toml", rf'^(version = "){_VERSION}(")'),
    ("packages/*/pyproject.toml", rf'("tadp-\w+(?:\[\w+\])?==){_VERSION}(")'),
    ("CITATION.cff", rf"^(version: ){_VERSION}($)"),
)
"""(files, pattern of the version in them): the version is set by this script alone."""
CHECKS = (("lint",), ("test",), ("docs",), ("build",))


def version_of(root: Path) -> str:
    """The version; ValueError where files disagree."""
    found: dict[str, set[str]] = {}
    for path, pattern in _places(root):
        for match in re.finditer(pattern, path.read_text(encoding="utf-8"), re.MULTILINE):
            version = re.search(_VERSION, match.group()).group()
            found.setdefault(version, set()).add(path.relative_to(root).as_posix())
    if len(found) != 1:
        told = "; ".join(f"{version} in {', '.join(sorted(paths))}" for version, paths in sorted(found.items()))
        raise ValueError(f"files disagree on the version: {told}; set it with `python3 tasks.py release VERSION`")
    return next(iter(found))


def set_version(root: Path, version: str) -> None:
    """Write the version to all places, and give the changelog's unreleased part its name and date."""
    if re.fullmatch(_VERSION, version) is None:
        raise ValueError(f"version {version!r}: expected numbers such as 1.2.0 or 1.2.0rc1")
    check_changelog(root)
    for path, pattern in _places(root):
        text = path.read_text(encoding="utf-8")
        path.write_text(re.sub(pattern, rf"\g<1>{version}\g<2>", text, flags=re.MULTILINE), encoding="utf-8")
    changelog = root / "CHANGELOG.md"
    text = changelog.read_text(encoding="utf-8")
    changelog.write_text(text.replace(UNRELEASED, f"## {version} - {date.today()}", 1), encoding="utf-8")


def check_changelog(root: Path) -> None:
    """Raise ValueError where nothing is listed as unreleased."""
    text = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    part = text.partition(UNRELEASED)[2].partition("\n## ")[0]
    if "- " not in part:
        raise ValueError(f"CHANGELOG.md lists nothing below {UNRELEASED!r}: write what has changed")


def check_wheels(folder: Path, version: str, packages: list[str]) -> None:
    """Raise unless there is one wheel per package, with this version and valid metadata, and no other."""
    from packaging.metadata import Metadata

    found, others = {}, []
    for wheel in sorted(folder.glob("tadp_*.whl")):
        with zipfile.ZipFile(wheel) as files:
            names = files.namelist()
            name = next(name for name in names if name.endswith(".dist-info/METADATA"))
            metadata = Metadata.from_email(files.read(name), validate=True)
        if not any(name.endswith(".dist-info/licenses/LICENSE") for name in names):
            raise ValueError(f"{wheel.name} has no LICENSE")
        if str(metadata.version) == version:
            found[metadata.name] = metadata
        else:
            others.append(wheel.name)
    missing = sorted(set(packages) - set(found))
    if missing:
        raise ValueError(f"{folder} has no wheel of version {version} of {', '.join(missing)}")
    if others:
        raise ValueError(f"{folder} has wheels of other versions too: remove {', '.join(others)}, or they are uploaded")
    for name, metadata in found.items():
        told = (metadata.summary, metadata.description, metadata.license_expression, metadata.requires_python)
        if not all(told):
            raise ValueError(
                f"{name}: a summary, a readme, a licence and the Python versions belong into its pyproject.toml"
            )


def names_of(root: Path) -> list[str]:
    """Of the packages."""
    files = sorted(root.glob("packages/*/pyproject.toml"))
    return [tomllib.loads(file.read_text(encoding="utf-8"))["project"]["name"] for file in files]


def main(arguments: list[str]) -> int:
    """Check, and without --dry-run set the version; the exit code."""
    parser = argparse.ArgumentParser(prog="python3 tasks.py release", description=__doc__)
    parser.add_argument("version", nargs="?", help="of the release; none with --dry-run: that of the files")
    parser.add_argument("--dry-run", action="store_true", help="only check: lint, tests, docs, wheels, metadata")
    given = parser.parse_args(arguments)
    if not given.dry_run and given.version is None:
        parser.error("name the VERSION, or check with --dry-run")
    try:
        version = version_of(ROOT)
        check_changelog(ROOT)
        if not given.dry_run:
            set_version(ROOT, given.version)
            print(
                f"version {given.version} is written: commit, tag the commit v{given.version}, and upload dist/*.whl "
                "after `python3 tasks.py release --dry-run`"
            )
            return 0
        for check in CHECKS:
            code = subprocess.call([sys.executable, "tasks.py", *check], cwd=ROOT)
            if code != 0:
                print(f"release: `python3 tasks.py {' '.join(check)}` failed", file=sys.stderr)
                return code
        check_wheels(ROOT / "dist", version, names_of(ROOT))
    except ValueError as error:
        print(f"release: {error}", file=sys.stderr)
        return 2
    print(f"version {version} can be released: dist/ has its wheels")
    return 0


def _places(root: Path) -> list[tuple[Path, str]]:
    return [(path, pattern) for files, pattern in PLACES for path in sorted(root.glob(files))]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
