"""The documentation: every link leads to a file and a heading, every page is in the site's table of contents."""

import importlib.util
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
import yaml


@pytest.fixture(scope="module")
def build(repository):
    spec = importlib.util.spec_from_file_location("docs_build", repository / "docs" / "site" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def staged(build, tmp_path_factory):
    folder = tmp_path_factory.mktemp("docs") / "pages"
    build.stage(folder)
    return folder


def prose(page) -> str:
    """A page without its blocks and spans of code."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "code", text)


def anchors(page) -> set[str]:
    """Of the headings, as GitHub and the site name them."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_links_lead_to_files_and_headings_on_the_site_too(staged):
    broken = []
    for page in sorted(staged.rglob("*.md")):
        for link in re.findall(r"\]\((?!https?:)([^)\s]+)\)", prose(page)):
            path, _, anchor = link.partition("#")
            target = page.parent / path if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.relative_to(staged)}: {link}")
    assert broken == []


def test_every_page_is_in_the_table_of_contents_and_no_other(repository, staged):
    nav = yaml.safe_load((repository / "docs" / "site" / "mkdocs.yml").read_text())["nav"]

    def pages(entries):
        for entry in entries:
            if isinstance(entry, str):
                yield entry
            else:
                for value in entry.values():
                    yield from pages(value if isinstance(value, list) else [value])

    listed = list(pages(nav))
    assert sorted(listed) == sorted(page.relative_to(staged).as_posix() for page in staged.rglob("*.md"))
    assert len(listed) == len(set(listed))


def test_the_api_pages_have_every_public_name(staged):
    text = "".join(page.read_text() for page in (staged / "api").iterdir())
    for name in (
        "::: tadp_backbone.backbone.DiffusionBackbone",
        "::: tadp_captioning.caption_store.CaptionStore",
        "::: tadp_heads.model.PerceptionModel",
        "::: tadp_heads.training.loop.fit",
        "::: tadp_personalize.methods.textual_inversion.textual_inversion",
        "::: tadp_cli.api.train",
    ):
        assert name in text


def test_nothing_comes_from_outside(repository):
    config = (repository / "docs" / "site" / "mkdocs.yml").read_text()
    assert "font: false" in config
    assert "http" not in config


@pytest.mark.slow  # half a minute: the tests above find what usually breaks
@pytest.mark.skipif(find_spec("material") is None, reason="mkdocs-material is not installed")
def test_the_site_builds_strictly_and_is_complete(repository, tmp_path):
    command = [sys.executable, str(repository / "docs" / "site" / "build.py"), "--site-dir", str(tmp_path / "site")]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    page = (tmp_path / "site" / "api" / "tadp_heads.html").read_text(encoding="utf-8")
    assert "from_pretrained" in page
    loaded = re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\s\">]+)", page)
    assert loaded == []
    assert (tmp_path / "site" / "search" / "search_index.js").is_file(), "of the search that works without a server"
