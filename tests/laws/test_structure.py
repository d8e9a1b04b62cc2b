"""Rules of structure that any file can break: lengths, names, docstrings, a test for every module, versioned files."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from fnmatch import fnmatch
from pathlib import Path

import pytest

import service
from tests.laws.sources import (
    GENERATED,
    ROOT,
    Definition,
    definitions,
    listed,
    location,
    public,
    python_files,
    tree,
    versioned_files,
)
from tests.laws.test_layers import imports
from tests.networks.timm_alone import STAND_IN

FILE_LINES = 300
FUNCTION_LINES = 40
FOLDER_ENTRIES = 12
FILE_BYTES = 25 * 2**20
WORDLESS_NAMES = {"utils", "util", "core", "common", "helpers", "helper", "manager", "managers", "misc"}
# One letter of each is in brackets, so that this file does not break the rule.
ELSEWHERE = {
    "a path of one machine": r"(?<![\w.}])(/wor[k]/|/User[s]/\w|/hom[e]/(?!model-server)\w)|C:\\+User[s]",
    "a package registry": (
        r"pyp[i]\.org|pythonhoste[d]\.org|download\.pytorch\.or[g]/whl|registry\.npmj[s]|conda\.anacond[a]"
        r"|proxy\.golan[g]|maven\.or[g]|crate[s]\.io"
    ),
}
# Packages are tested as folders, and entry points by the end-to-end tests.
UNTESTED = {"__init__.py", "__main__.py"}
# Folders of `service` that have the same modules, one set for each task, engine or library.
PARALLEL_FOLDERS = ("tasks/*", "engines/*", "networks/mmseg")


def lines_of(node: Definition) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_file_has_at_most_300_lines() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}

    long = [f"{location(path)}: {count} lines" for path, count in counts.items() if count > FILE_LINES]

    assert not long, listed(long)


def test_a_function_has_at_most_40_lines() -> None:
    long = [
        f"{location(path, node.lineno)} {name}: {lines_of(node)} lines"
        for path in python_files()
        for name, node in definitions(tree(path))
        if not isinstance(node, ast.ClassDef) and lines_of(node) > FUNCTION_LINES
    ]

    assert not long, listed(long)


def folders(top: str) -> Iterator[Path]:
    """Yield a folder and the folders in it, without generated ones."""
    found = [ROOT / top, *(path for path in (ROOT / top).rglob("*") if path.is_dir())]
    yield from (folder for folder in found if not GENERATED & set(folder.relative_to(ROOT).parts))


@pytest.mark.parametrize("top", ["service", "benchmarks", "clients"])
def test_a_folder_has_at_most_12_entries(top: str) -> None:
    counts = {
        folder: len({path.name for path in folder.iterdir()} - UNTESTED - GENERATED - {"py.typed"})
        for folder in folders(top)
    }

    large = [f"{location(folder)}: {count} entries" for folder, count in counts.items() if count > FOLDER_ENTRIES]

    assert len(counts) > 1
    assert not large, listed(large)


def repeated(files: Mapping[str, list[Path]]) -> list[str]:
    """Return the names that occur in more than one file, with the files."""
    return [f"{name}: {', '.join(map(location, paths))}" for name, paths in files.items() if len(paths) > 1]


def test_a_public_class_name_occurs_once_in_the_service() -> None:
    files = defaultdict(list)
    for path in python_files("service"):
        for node in tree(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                files[node.name].append(path)

    assert len(files) > 100
    assert not repeated(files), listed(repeated(files))


def test_a_module_name_occurs_once_in_a_package() -> None:
    files = defaultdict(list)
    for path in python_files("service"):
        folder = path.relative_to(ROOT / "service").parent
        is_parallel = any(fnmatch(str(folder), pattern) for pattern in PARALLEL_FOLDERS)
        if path.name not in UNTESTED and not is_parallel:
            files[f"{folder.parts[0]} {path.stem}"].append(path)

    assert len(files) > 100
    assert not repeated(files), listed(repeated(files))


def test_only_the_tests_of_benchmarks_import_benchmarks() -> None:
    found = [
        f"{location(path, line)} imports {name}"
        for path in python_files("tests")
        if ROOT / "tests" / "benchmarks" not in path.parents
        for line, name in imports(path)
        if name.partition(".")[0] == "benchmarks"
    ]

    assert not found, listed(found)


def test_every_name_of_a_file_says_something() -> None:
    ours = [path for path in python_files() if STAND_IN not in path.parents]  # whose names are torchvision's
    wordless = [location(path) for path in ours if WORDLESS_NAMES & {path.stem, *path.relative_to(ROOT).parts}]

    assert not wordless, listed(wordless)


def test_every_public_thing_has_a_docstring() -> None:
    written = python_files("service", "clients", "benchmarks", "model_store")
    silent = [location(path) for path in written if not ast.get_docstring(tree(path))]
    silent += [
        f"{location(path, node.lineno)} {name}"
        for path in written
        for name, node in public(tree(path))
        if not ast.get_docstring(node)
    ]

    assert not silent, listed(silent)


def mirrors(path: Path) -> Iterator[Path]:
    """Yield the files and folders that may have the tests of a module of `service`.

    Modules of a task may also be tested through the gateway: `tasks/<task>/x.py` in `gateway/tasks/<task>/test_x.py`.
    """
    folder = path.relative_to(ROOT / "service").parent
    mirrored = [ROOT / "tests" / folder]
    if folder.parts[0] == "tasks" and len(folder.parts) > 1:
        mirrored.append(ROOT / "tests" / "gateway" / folder)
    for each in mirrored:
        yield from (each / f"test_{path.stem}.py", each / path.stem)


def test_every_module_has_a_test_file_or_folder_of_its_name() -> None:
    missing = [
        location(path)
        for path in python_files("service")
        if path.name not in UNTESTED and not any(mirror.exists() for mirror in mirrors(path))
    ]

    assert not missing, listed(missing)


def test_every_module_of_the_python_client_has_a_test_file() -> None:
    modules = {path.stem for path in python_files("clients") if path.name not in UNTESTED}

    assert len(modules) > 5
    assert modules == {
        path.stem.removeprefix("test_") for path in python_files("tests/clients/python") if "test_" in path.name
    }


def test_every_package_has_a_folder_of_tests() -> None:
    packages = [path.parent.relative_to(ROOT / "service") for path in python_files("service") if path.name in UNTESTED]

    missing = {str(package) for package in packages if not (ROOT / "tests" / package).is_dir()}

    assert not missing, listed(missing)


def test_no_test_patches_what_it_could_pass_in() -> None:
    patching = [
        location(path, node.lineno)
        for path in python_files("tests")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import | ast.ImportFrom) and "unittest" in ast.unparse(node)
    ]

    assert not patching, listed(patching)


def test_the_changelog_has_an_entry_for_this_version() -> None:
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## \[([^\]]+)\]", changelog, re.MULTILINE)

    assert service.__version__ in headings


def text_of(path: Path) -> str:
    """Return the text of a file, or an empty string for a binary file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.fixture(scope="module")
def versioned() -> tuple[Path, ...]:
    files = versioned_files()
    if files is None:
        pytest.skip("this is not a git checkout, so it is not known which files are versioned")
    return files


@pytest.mark.parametrize("what", ELSEWHERE)
def test_no_file_names_a_place_that_is_not_everywhere(what: str, versioned: tuple[Path, ...]) -> None:
    found = [
        location(path, number)
        for path in versioned
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if re.search(ELSEWHERE[what], line)
    ]

    assert not found, listed(found)


def test_no_file_is_larger_than_25_mebibytes(versioned: tuple[Path, ...]) -> None:
    large = [location(path) for path in versioned if path.stat().st_size > FILE_BYTES]

    assert not large, listed(large)
