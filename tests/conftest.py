"""What holds for all tests: no network, few threads, where larger test data may lie."""

import gc
import os
import random
import sys
from pathlib import Path

# Before any test module imports what reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")  # toy sizes: more threads only wait for each other
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["MPLBACKEND"] = "Agg"

import pytest

gc.disable()  # until all is collected


def pytest_addoption(parser):
    """--faults: kill commands at all file operations, not at ten of each (tests/cli/test_faults.py)."""
    parser.addoption("--faults", action="store_true", help="inject faults at all file operations")


REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    """Keeps the garbage collector from what was imported, which it went through again and again."""
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """As before, or triton's bindings report what is never collected as leaks."""
    gc.unfreeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Seeds what a test or fixture draws unseeded: the same numbers alone, in any order and in any worker."""
    random.seed(0)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images and captions that the repository doesn't hold; tests that ask for them are skipped without."""
    folder = Path(os.environ.get("TADP_TEST_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder} (TADP_TEST_DATA names the folder)")
    return folder


@pytest.fixture
def own_registries(monkeypatch):
    """What a test registers is forgotten after it; gives a function that forgets which plugins were imported."""
    import tadp_backbone.registry
    import tadp_captioning._registry
    import tadp_captioning.domains
    import tadp_captioning.registry
    import tadp_cli.prompts.kind
    import tadp_heads.data.registry
    import tadp_heads.registry

    heads, captioning, backbone = tadp_heads.registry, tadp_captioning, tadp_backbone.registry
    tables = [heads.TASKS, *heads._HEADS.values(), tadp_heads.data.registry.DATASETS, backbone.BACKBONES]
    tables += [captioning.registry.CAPTIONERS, captioning.domains.DOMAINS, tadp_cli.prompts.kind.PROMPT_KINDS]
    for table in tables:
        monkeypatch.setattr(table, "data", dict(table.data))
    monkeypatch.setattr(heads, "_HEADS", dict(heads._HEADS))

    def forget() -> None:
        for module in (tadp_heads._registry, tadp_captioning._registry, tadp_backbone._registry):
            module.import_installed.cache_clear()
        for name in [name for name in sys.modules if name.startswith("tadp_plugin_")]:
            del sys.modules[name]
        if "tadp_cli.plugins" in sys.modules:
            sys.modules["tadp_cli.plugins"].load_plugins(())

    forget()
    yield forget
    forget()
