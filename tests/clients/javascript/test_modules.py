"""The modules of the JavaScript client: typed, linted, short, and tested by node's own test runner."""

import shutil
from pathlib import Path

import pytest

from tests.commands import ran
from tests.gateway.playground.test_sources import PROJECT, SOURCES, TOOLS, needs_tools
from tests.laws.prose import BANNED
from tests.laws.sources import ROOT, listed, location
from tests.laws.test_structure import FILE_LINES

CLIENT = ROOT / "clients" / "javascript"
HERE = Path(__file__).parent
WITHOUT_TESTS = {"index.js", "results.js"}  # exports and types
MODULES = sorted((CLIENT / "src").glob("*.js"))


@needs_tools
def test_the_types_of_the_modules_and_of_the_example_are_right() -> None:
    ran(TOOLS / "tsc", "--project", HERE / "modules.tsconfig.json")


@pytest.mark.parametrize("name", ["png.js", "rle.js"])
def test_the_readers_of_masks_are_those_of_the_playground(name: str) -> None:
    """The packages are distributed apart, so each has its copy."""
    assert (CLIENT / "src" / name).read_bytes() == (SOURCES / "js" / "decode" / name).read_bytes()


@needs_tools
def test_the_files_are_linted_and_formatted() -> None:
    config = f"--config-path={PROJECT}"
    ran(TOOLS / "biome", "ci", "--colors=off", "--error-on-warnings", config, CLIENT / "src", CLIENT / "example", HERE)


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
@pytest.mark.parametrize("test", sorted(HERE.glob("*.test.js")), ids=lambda path: path.name)
def test_a_module_passes_its_tests(test: Path) -> None:
    ran("node", "--test", test)


def test_every_module_has_tests_says_what_it_does_and_is_short() -> None:
    tested = {path.name.replace(".test", "") for path in HERE.glob("*.test.js")}
    texts = {path: path.read_text(encoding="utf-8") for path in [*MODULES, *(CLIENT / "example").iterdir()]}

    assert {path.name for path in MODULES} - WITHOUT_TESTS == tested
    assert [location(path) for path in MODULES if not texts[path].startswith("// ")] == []
    assert [location(path) for path, text in texts.items() if len(text.splitlines()) > FILE_LINES] == []


def test_the_words_are_plain() -> None:
    prose = {path: path.read_text(encoding="utf-8").replace("Promise", "") for path in MODULES}

    banned = [f"{location(path)}: {found[0]}" for path, text in prose.items() for found in BANNED.finditer(text)]

    assert not banned, listed(banned)
