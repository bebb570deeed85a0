"""Releases: one version in all files, a changelog that lists what changed, wheels with valid metadata."""

import importlib.util
import shutil
import zipfile

import pytest
import yaml

METADATA = """Metadata-Version: 2.4
Name: {name}
Version: {version}
Summary: a package
License-Expression: Apache-2.0
Requires-Python: >=3.11
Description-Content-Type: text/markdown

# A package
"""


@pytest.fixture(scope="module")
def release(repository):
    spec = importlib.util.spec_from_file_location("release", repository / ".ci" / "release.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def checkout(repository, tmp_path):
    """The files that a release changes."""
    for path in (*repository.glob("packages/*/pyproject.toml"), repository / "CITATION.cff"):
        copy = tmp_path / path.relative_to(repository)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    (tmp_path / "CHANGELOG.md").write_text(
        "# Changelog\n\n## Unreleased\n\n- more\n\n## 0.0.1 - 2020-01-01\n\n- first\n"
    )
    return tmp_path


def test_the_version_is_written_to_every_file_that_has_it(release, checkout):
    before = release.version_of(checkout)
    release.set_version(checkout, "9.8.7rc1")
    assert release.version_of(checkout) == "9.8.7rc1"
    texts = [path.read_text() for path in (*checkout.rglob("pyproject.toml"), checkout / "CITATION.cff")]
    assert not any(f'"{before}"' in text or f"=={before}" in text or f"version: {before}" in text for text in texts)
    assert "## 9.8.7rc1 - 20" in (checkout / "CHANGELOG.md").read_text()
    with pytest.raises(ValueError, match=r"CHANGELOG.md lists nothing below '## Unreleased'"):
        release.set_version(checkout, "9.8.8")
    with pytest.raises(ValueError, match="'next': expected numbers"):
        release.set_version(checkout, "next")


def test_files_that_disagree_are_named(release, checkout):
    path = checkout / "CITATION.cff"
    path.write_text(path.read_text().replace("version: ", "version: 7"))
    with pytest.raises(ValueError, match=r"files disagree on the version: .*CITATION.cff"):
        release.version_of(checkout)


def test_wheels_are_those_of_this_version_with_metadata(release, repository, tmp_path):
    names = release.names_of(repository)
    assert len(names) == 5
    for name in names:
        stem = f"{name.replace('-', '_')}-1.0.0"
        with zipfile.ZipFile(tmp_path / f"{stem}-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"{stem}.dist-info/METADATA", METADATA.format(name=name, version="1.0.0"))
            wheel.writestr(f"{stem}.dist-info/licenses/LICENSE", "")
    release.check_wheels(tmp_path, "1.0.0", names)
    older = tmp_path / "tadp_heads-0.9.0-py3-none-any.whl"
    with zipfile.ZipFile(older, "w") as wheel:
        wheel.writestr("tadp_heads-0.9.0.dist-info/METADATA", METADATA.format(name="tadp-heads", version="0.9.0"))
    with pytest.raises(ValueError, match=f"{older.name} has no LICENSE"):
        release.check_wheels(tmp_path, "1.0.0", names)
    with zipfile.ZipFile(older, "a") as wheel:
        wheel.writestr("tadp_heads-0.9.0.dist-info/licenses/LICENSE", "")
    with pytest.raises(ValueError, match=f"wheels of other versions too: remove {older.name}"):
        release.check_wheels(tmp_path, "1.0.0", names)
    older.unlink()
    with pytest.raises(ValueError, match=r"no wheel of version 1.0.1 of tadp-backbone, tadp-captioning"):
        release.check_wheels(tmp_path, "1.0.1", names)


def test_the_public_workflow_runs_what_ci_runs(repository):
    workflow = yaml.safe_load((repository / ".github" / "workflows" / "ci.yml").read_text())
    steps = [step.get("run") for job in workflow["jobs"].values() for step in job["steps"]]
    assert ".ci/run" in steps
    for template in (repository / ".github" / "ISSUE_TEMPLATE").iterdir():
        assert {"name", "about"} <= yaml.safe_load(template.read_text().split("---\n")[1]).keys()
