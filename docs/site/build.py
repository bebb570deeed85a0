"""The documentation as a site: `python3 tasks.py docs` writes it to site/.

The pages are the repository's own Markdown files, copied with their relative places, so that a link leads to the same
file in the repository and on the site. Added are a page per package with the API, from docstrings. mkdocs builds
strictly: a broken link, a missing anchor or an unresolved name is an error.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("*.md", "docs/*.md", "docs/*.png", "docs/results/*.md", "docs/results/*.png", "docs/analyses/*.png")
PAGES += (
    "docs/results/*.json",
    "examples/*",
    "packages/*/README.md",
    "packages/*/src/*/weights/*/README.md",
    "LICENSE",
)
PAGES += ("CITATION.cff", "Dockerfile")
PACKAGES = {
    "tadp_backbone": (
        "tadp_backbone",
        "tadp_backbone.io.licences",
        "tadp_backbone.ldm",
        "tadp_backbone.text.conditioning",
    ),
    "tadp_captioning": ("tadp_captioning", "tadp_captioning.hub.dataset"),
    "tadp_heads": (
        *("tadp_heads", "tadp_heads.training", "tadp_heads.segmentation", "tadp_heads.depth", "tadp_heads.detection"),
        *("tadp_heads.tagging", "tadp_heads.export", "tadp_heads.results", "tadp_heads.tasks", "tadp_heads.data"),
        *(
            "tadp_heads.data.registry",
            "tadp_heads.data.scenes.write",
            "tadp_heads.training.tracking.trackers",
            "tadp_heads.hub.card",
        ),
    ),
    "tadp_personalize": ("tadp_personalize", "tadp_personalize.hub.push"),
    "tadp": ("tadp", "tadp_cli.prompts", "tadp_cli.run.run", "tadp_cli.config.recipe"),
}
"""{page: the modules whose public names it shows}."""


def stage(target: Path) -> None:
    """Copy the pages to `target`, and write those of the API."""
    for pattern in PAGES:
        for path in ROOT.glob(pattern):
            if path.is_file():
                copy = target / path.relative_to(ROOT)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path, copy)
    (target / "assets").mkdir()
    shutil.copy(ROOT / "docs" / "site" / "iframe-worker.js", target / "assets")
    (target / "api").mkdir(parents=True)
    for package, modules in PACKAGES.items():
        (target / "api" / f"{package}.md").write_text(api_page(package, modules), encoding="utf-8")


def api_page(package: str, modules: tuple[str, ...]) -> str:
    """Markdown with a directive for each public name, which mkdocstrings replaces by its signature and docstring."""
    lines = [f"# {package}", ""]
    for module in modules:
        path = source_of(module)
        tree = ast.parse(path.read_text(encoding="utf-8"))
        lines += [f"## {module}", "", (ast.get_docstring(tree) or "").split("\n\n")[0], ""]
        for name, place in sorted(public_names(tree, module, path.name == "__init__.py").items()):
            lines += [f"### {name}", "", f"::: {place}.{name}", ""]
    return "\n".join(lines)


def source_of(module: str) -> Path:
    """Its file."""
    top, *rest = module.split(".")
    package = "cli" if top in ("tadp", "tadp_cli") else top.removeprefix("tadp_")
    folder = ROOT.joinpath("packages", package, "src", top, *rest)
    return folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")


def public_names(tree: ast.Module, module: str, is_package: bool) -> dict[str, str]:
    """{name: the module that defines it} of what a module lists in `__all__`, or else defines without an underscore."""
    places, listed, lazy = {}, None, {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            places |= {alias.asname or alias.name: _base(node, module, is_package) for alias in node.names}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            places[node.name] = module
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id == "__all__":
                listed = ast.literal_eval(node.value)
            elif isinstance(node.value, ast.Dict) and node.targets[0].id.startswith("_"):
                lazy |= _table(node.value)
            else:
                places.setdefault(node.targets[0].id, module)
    places |= {name: place if place.startswith("tadp") else f"{module}.{place}" for name, place in lazy.items()}
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    names = listed if listed is not None else sorted(name for name in defined if not name.startswith("_"))
    return {name: places[name] for name in names if name in places}


def _table(node: ast.Dict) -> dict[str, str]:
    """{name: module} of a table of lazily imported names; {} of any other dictionary."""
    try:
        table = ast.literal_eval(node)
    except ValueError:
        return {}
    return table if all(isinstance(value, str) for value in table.values()) else {}


def _base(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".")
    above = parts[: len(parts) - node.level + (1 if is_package else 0)]
    return ".".join([*above, *([node.module] if node.module else [])])


def settings(pages: Path) -> dict[str, Any]:
    """Those of mkdocs: mkdocs.yml with the places of this checkout, and under "More" the pages that it leaves out."""
    config = yaml.safe_load((ROOT / "docs" / "site" / "mkdocs.yml").read_text(encoding="utf-8"))
    (plugin,) = [plugin for plugin in config["plugins"] if "mkdocstrings" in plugin]
    sources = [str(folder) for folder in sorted(ROOT.glob("packages/*/src"))]
    plugin["mkdocstrings"]["handlers"]["python"]["paths"] = sources
    listed = set(listed_pages(config["nav"]))
    others = sorted(page for path in pages.rglob("*.md") if (page := path.relative_to(pages).as_posix()) not in listed)
    config["nav"] += [{"More": others}] if others else []
    return config | {"docs_dir": str(pages), "site_dir": str(ROOT / "site")}


def listed_pages(entries: list[Any]) -> Iterator[str]:
    """The pages of a table of contents."""
    for entry in entries:
        for value in entry.values() if isinstance(entry, dict) else [entry]:
            yield from listed_pages(value) if isinstance(value, list) else [value]


def main(options: list[str]) -> int:
    """Build site/; the exit code of mkdocs, which gets the options."""
    staged = ROOT / "build" / "docs"
    shutil.rmtree(staged, ignore_errors=True)
    stage(staged)
    config = staged.with_name("mkdocs.yml")
    config.write_text(json.dumps(settings(staged)), encoding="utf-8")  # JSON is YAML
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--config-file", str(config), *options]
    return subprocess.call(command, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"})


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
