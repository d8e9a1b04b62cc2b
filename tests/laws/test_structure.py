"""The laws of the house that any file can break: length, names, docstrings, a test for every module, what git holds."""

import ast
import re
from pathlib import Path

import pytest

import service
from tests.laws.sources import ROOT, Definition, definitions, listed, place, public, python_files, tree, versioned_files
from tests.networks.timm_alone import STAND_IN

FILE_LINES = 300
FUNCTION_LINES = 40
FILE_BYTES = 25 * 2**20
WORDLESS_NAMES = {"utils", "util", "core", "common", "helpers", "helper", "manager", "managers", "misc"}
# A letter of each is in brackets, so that this file does not break the law it guards.
ELSEWHERE = {
    "a path of somebody's machine": r"(?<![\w.}])(/wor[k]/|/User[s]/\w|/hom[e]/(?!model-server)\w)|C:\\+User[s]",
    "a package registry": (
        r"pyp[i]\.org|pythonhoste[d]\.org|download\.pytorch\.or[g]/whl|registry\.npmj[s]|conda\.anacond[a]"
        r"|proxy\.golan[g]|maven\.or[g]|crate[s]\.io"
    ),
}
UNTESTED = {"__init__.py", "__main__.py"}  # packages and doors are tested as folders and by the end-to-end tests


def lines_of(node: Definition) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def test_a_file_has_at_most_300_lines() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}

    long = [f"{place(path)}: {count} lines" for path, count in counts.items() if count > FILE_LINES]

    assert not long, listed(long)


def test_a_function_has_at_most_40_lines() -> None:
    long = [
        f"{place(path, node.lineno)} {name}: {lines_of(node)} lines"
        for path in python_files()
        for name, node in definitions(tree(path))
        if not isinstance(node, ast.ClassDef) and lines_of(node) > FUNCTION_LINES
    ]

    assert not long, listed(long)


def test_every_name_of_a_file_says_something() -> None:
    ours = [path for path in python_files() if STAND_IN not in path.parents]  # whose names are torchvision's
    wordless = [place(path) for path in ours if WORDLESS_NAMES & {path.stem, *path.relative_to(ROOT).parts}]

    assert not wordless, listed(wordless)


def test_every_public_thing_has_a_docstring() -> None:
    written = python_files("service", "benchmarks", "model_store")
    silent = [place(path) for path in written if not ast.get_docstring(tree(path))]
    silent += [
        f"{place(path, node.lineno)} {name}"
        for path in written
        for name, node in public(tree(path))
        if not ast.get_docstring(node)
    ]

    assert not silent, listed(silent)


def test_every_module_has_a_test_file_or_folder_of_its_name() -> None:
    missing = []
    for path in python_files("service"):
        place_in_tests = ROOT / "tests" / path.relative_to(ROOT / "service").parent
        mirrors = [place_in_tests / f"test_{path.stem}.py", place_in_tests / path.stem]
        if path.name not in UNTESTED and not any(mirror.exists() for mirror in mirrors):
            missing.append(place(path))

    assert not missing, listed(missing)


def test_every_package_has_a_folder_of_tests() -> None:
    packages = [path.parent.relative_to(ROOT / "service") for path in python_files("service") if path.name in UNTESTED]

    missing = {str(package) for package in packages if not (ROOT / "tests" / package).is_dir()}

    assert not missing, listed(missing)


def test_no_test_patches_what_it_could_pass_in() -> None:
    patching = [
        place(path, node.lineno)
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
    """The text of a file; a picture's or an archive's bytes, which name nothing, are empty."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return ""


@pytest.fixture(scope="module")
def versioned() -> tuple[Path, ...]:
    files = versioned_files()
    if files is None:
        pytest.skip("this is no git checkout, so nothing tells what is versioned")
    return files


@pytest.mark.parametrize("what", ELSEWHERE)
def test_no_file_names_a_place_that_is_not_everywhere(what: str, versioned: tuple[Path, ...]) -> None:
    found = [
        place(path, number)
        for path in versioned
        for number, line in enumerate(text_of(path).splitlines(), start=1)
        if re.search(ELSEWHERE[what], line)
    ]

    assert not found, listed(found)


def test_no_file_is_larger_than_25_mebibytes(versioned: tuple[Path, ...]) -> None:
    large = [place(path) for path in versioned if path.stat().st_size > FILE_BYTES]

    assert not large, listed(large)
