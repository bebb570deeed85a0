"""The documentation: every link leads to a file and a heading, every page is in the site's table of contents."""

import importlib.util
import re
import subprocess
import sys
from importlib.util import find_spec

import pytest
from browser import CHROMIUM, Browser


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


def test_every_page_is_in_the_table_of_contents_once(build, staged):
    (staged / "docs" / "new.md").write_text("# New")
    listed = list(build.listed_pages(build.settings(staged)["nav"]))
    assert sorted(listed) == sorted(page.relative_to(staged).as_posix() for page in staged.rglob("*.md"))
    assert "docs/new.md" in next(entry["More"] for entry in build.settings(staged)["nav"] if "More" in entry)
    (staged / "docs" / "new.md").unlink()


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


@pytest.fixture(scope="module")
def site(repository, tmp_path_factory):
    """The site, built strictly."""
    folder = tmp_path_factory.mktemp("site") / "site"
    command = [sys.executable, str(repository / "docs" / "site" / "build.py"), "--site-dir", str(folder)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
@pytest.mark.skipif(find_spec("material") is None, reason="mkdocs-material is not installed")
def test_the_site_is_complete_and_loads_nothing_from_outside(site):
    page = (site / "api" / "tadp_heads.html").read_text(encoding="utf-8")
    assert "from_pretrained" in page
    assert re.findall(r"<(?:script|link|img)[^>]+(?:src|href)=\"?(https?://[^\s\">]+)", page) == []


@pytest.mark.slow
@pytest.mark.skipif(find_spec("material") is None, reason="mkdocs-material is not installed")
@pytest.mark.skipif(not CHROMIUM, reason="chromium is not installed")
def test_the_search_works_on_pages_opened_from_the_disk(site, tmp_path):
    browser = Browser(tmp_path / "profile")
    try:
        browser.open(site / "docs" / "hub.html")
        browser.evaluate("document.querySelector('label[for=__search]').click()")
        browser.evaluate(
            "(() => { const query = document.querySelector('[data-md-component=search-query]'); query.focus();"
            " query.value = 'watercolor'; query.dispatchEvent(new Event('input', {bubbles: true}));"
            " query.dispatchEvent(new KeyboardEvent('keyup', {bubbles: true})); })()"
        )
        browser.wait("document.querySelectorAll('.md-search-result__item').length > 3")
        assert browser.complaints() == []
        assert [address for address in browser.requests() if not address.startswith(("file:", "data:"))] == []
    finally:
        browser.close()
