"""docs/reference.md, which comments and docstrings cite for what the paper's code does."""

import re

import pytest

CITED = re.compile(r"docs/reference\.md(?:, sections? (\d)(?: to (\d))?)?")


@pytest.fixture(scope="module")
def sources(repository):
    """{file: text} of what may cite it, line breaks within comments and docstrings joined."""
    files = [path for folder in ("packages", "tests") for path in (repository / folder).rglob("*.*")]
    texts = {path: path.read_text(encoding="utf-8") for path in files if path.suffix in (".py", ".toml", ".md")}
    return {path: re.sub(r"\n\s*(?:# )?", " ", text) for path, text in texts.items()}


def test_every_cited_section_exists(repository, sources):
    headings = re.findall(r"^## (\d)\. ", (repository / "docs" / "reference.md").read_text(), re.MULTILINE)
    cited = [(path, found) for path, text in sources.items() for found in CITED.findall(text)]
    assert len(cited) > 30
    for path, (first, last) in cited:
        assert {first, last} - {""} <= set(headings), path


def test_nothing_cites_a_page_that_is_not_in_the_repository(sources):
    assert not [str(path) for path, text in sources.items() if re.search(r"REFERENCE(\.md|:| section)", text)]
