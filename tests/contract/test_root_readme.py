"""The root README's example runs as it stands, and what the pages link to is there."""

import re


def test_the_example_runs(repository):
    text = (repository / "README.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(.*?)```", text, re.DOTALL).group(1)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert len(names["features"].levels) == len(names["backbone"].levels)


def test_links_lead_somewhere(repository):
    pages = ("*.md", "docs/**/*.md", "packages/*/README.md")
    for page in (path for pattern in pages for path in repository.glob(pattern)):
        for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_the_architecture_names_files_that_are_there(repository):
    text = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tadp_\w+/[\w/]+\.py)`", text)
    packages = repository / "packages"
    missing = [
        name for name in named if not (packages / name.split("/")[0].removeprefix("tadp_") / "src" / name).exists()
    ]
    assert len(named) > 15
    assert missing == []
