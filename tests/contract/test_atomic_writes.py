"""Files that are complete or absent: the same few functions in each package, and how they fail."""

import ast
import errno
import multiprocessing
import resource

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from tadp_cli.run.lock import remove_leftovers
from tadp_heads.atomic_files import append, replacing, replacing_folder, write_json, write_text

PACKAGES = ("backbone", "captioning", "cli", "heads", "personalize")


def source_of(repository, package, module):
    return repository / "packages" / package / "src" / f"tadp_{package}" / f"{module}.py"


COPYING = ("backbone", "captioning", "personalize")
"""Packages with copies of modules of tadp_heads; the command line imports that."""


def functions_of(module):
    return {n.name: ast.unparse(n) for n in ast.parse(module.read_text()).body if isinstance(n, ast.FunctionDef)}


@pytest.mark.parametrize("package", COPYING)
def test_each_package_has_the_same_functions(repository, package):
    own, first = source_of(repository, package, "_io"), source_of(repository, "heads", "atomic_files")
    assert functions_of(own).items() <= functions_of(first).items()


COPIES = (
    ("backbone/_read_errors", "captioning/_read_errors"),
    ("backbone/_read_errors", "heads/training/_read_errors"),
    ("backbone/_read_errors", "personalize/_read_errors"),
    ("personalize/training/accelerate_state", "heads/training/parallel/accelerate_state"),
    ("personalize/training/meta_attention", "heads/training/memory/meta_attention"),
    ("personalize/training/signals", "heads/training/signals"),
)
"""Modules of two packages, which do not import each other."""


@pytest.mark.parametrize(("first", "second"), COPIES)
def test_packages_have_the_same_copies(repository, first, second):
    texts = []
    for package, _, module in (first.partition("/"), second.partition("/")):
        texts.append((repository / f"packages/{package}/src/tadp_{package}/{module}.py").read_text())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("package", COPYING)
def test_each_package_has_the_same_module_for_format_versions(repository, package):
    own, first = source_of(repository, package, "_format"), source_of(repository, "heads", "format_version")
    assert own.read_text() == first.read_text()


@pytest.mark.parametrize("package", ["backbone", "captioning"])
def test_each_package_has_the_same_module_for_registered_parts(repository, package):
    own, first = (
        (repository / "packages" / name / "src" / f"tadp_{name}" / "_registry.py").read_text()
        for name in (package, "heads")
    )
    assert own == first


@pytest.mark.parametrize("package", PACKAGES)
def test_nothing_else_makes_temporary_names(repository, package):
    for path in (repository / "packages" / package / "src").rglob("*.py"):
        found = [word for word in ("os.replace(", ".rename(", "mkstemp(", "getpid()") if word in path.read_text()]
        assert not found or path.name in ("_io.py", "atomic_files.py", "save.py"), f"{path}: {found}"


def test_what_a_killed_writer_left_is_taken_over_and_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "new" / "a.json"
    write_json(file, {"é": 1})
    (file.parent / ".a.json.part").write_text("a longer text than what is written now, from a killed process")
    with pytest.raises(KeyError), replacing(file) as partial:
        {"half": partial.write_text("half")}["whole"]
    assert file.read_text() == '{\n  "é": 1\n}\n'
    (file.parent / ".a.json.part").write_text("left again")
    write_text(file, "b")
    assert [path.name for path in file.parent.iterdir()] == ["a.json"]
    assert file.read_text() == "b"


def test_a_folder_takes_the_place_of_the_old_one_as_a_whole(tmp_path):
    for left in (".a.part", ".a.old.part"):
        (tmp_path / left).mkdir()
        (tmp_path / left / "x").touch()
    for name in ("first", "second"):
        with replacing_folder(tmp_path / "a") as partial:
            (partial / name).touch()
        assert [path.name for path in tmp_path.rglob("*")] == ["a", name]
    with pytest.raises(KeyError), replacing_folder(tmp_path / "a"):
        raise KeyError
    assert [path.name for path in tmp_path.rglob("*")] == ["a", "second"]


def test_leftovers_are_those_of_any_depth_and_nothing_else(tmp_path):
    (tmp_path / "sub" / ".new.part" / "unet").mkdir(parents=True)
    (tmp_path / "sub" / ".c.json.part").touch()
    kept = {"sub", "sub/a.part", "sub/.hidden"}
    for name in ("a.part", ".hidden"):
        (tmp_path / "sub" / name).touch()
    remove_leftovers(tmp_path)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*")} == kept


def _count_up(path, times):
    for _ in range(times):
        with replacing(path) as partial:
            partial.write_text(str(int(path.read_text()) + 1))


def test_writers_of_one_file_wait_for_each_other(tmp_path):
    file = tmp_path / "count"
    file.write_text("0")
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=_count_up, args=(file, 50)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert file.read_text() == "150"


def _save_array(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(100_000))


WRITERS = {
    "text": lambda path: path.write_text("x" * 100_000),
    "image": lambda path: Image.effect_noise((400, 400), 90).save(path, format="PNG"),
    "array": _save_array,
    "torch": lambda path: torch.save({"a": torch.zeros(100_000)}, path),
    "safetensors": lambda path: save_file({"a": torch.zeros(100_000)}, path),
}


@pytest.fixture
def small_files():
    """The system refuses to let files grow, as it does where the disk is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_names_the_file_and_leaves_nothing_whoever_writes(tmp_path, small_files, name):
    with pytest.raises(OSError, match=r"out/file") as caught, replacing(tmp_path / "out" / "file") as partial:
        WRITERS[name](partial)
    assert caught.value.errno in (errno.EFBIG, None)
    assert ".part" not in str(caught.value)
    assert not list((tmp_path / "out").iterdir())


def test_lines_that_do_not_fit_are_taken_back(tmp_path, small_files):
    file = tmp_path / "lines"
    append(file, "first\n")
    with pytest.raises(OSError, match="lines") as caught:
        append(file, "x" * 30_000 + "\n")
    assert (caught.value.errno, caught.value.filename) == (errno.EFBIG, str(file))
    assert file.read_text() == "first\n"


def test_a_name_may_be_as_long_as_the_file_system_allows(tmp_path):
    for name in ("ä" * 127, "ä" * 126 + "b"):
        write_text(tmp_path / name, name)
    assert {path.read_text() for path in tmp_path.iterdir()} == {path.name for path in tmp_path.iterdir()}
