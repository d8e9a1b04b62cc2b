"""The page's own files are typed, linted and formatted, and as short as the other files of the project."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.laws.prose import BANNED
from tests.laws.sources import ROOT, listed, location
from tests.laws.test_structure import FILE_LINES

SOURCES = ROOT / "service" / "gateway" / "playground" / "static"
PROJECT = ROOT / "tests" / "e2e" / "typescript"
TOOLS = PROJECT / "node_modules" / ".bin"
TEXTS = (".css", ".html", ".js")

needs_tools = pytest.mark.skipif(
    not (TOOLS / "biome").exists() or shutil.which("node") is None,
    reason="needs node and the packages of `npm ci --prefix tests/e2e/typescript`",
)


def passes(*command: str | Path) -> None:
    """Run the command; fail with its output if it fails."""
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_tools
def test_the_types_of_the_modules_are_right() -> None:
    passes(TOOLS / "tsc", "--project", PROJECT / "playground.tsconfig.json")


@needs_tools
def test_the_files_are_linted_and_formatted() -> None:
    passes(TOOLS / "biome", "ci", "--colors=off", "--error-on-warnings", f"--config-path={PROJECT}", SOURCES)


def test_a_file_of_the_page_has_at_most_300_lines() -> None:
    counts = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in texts()}

    long = [f"{location(path)}: {count} lines" for path, count in counts.items() if count > FILE_LINES]

    assert len(counts) > 15
    assert not long, listed(long)


def test_a_module_of_the_page_begins_with_what_it_does() -> None:
    silent = [
        location(path)
        for path in texts()
        if path.suffix == ".js" and not path.read_text(encoding="utf-8").startswith("// ")
    ]

    assert not silent, listed(silent)


def test_the_words_of_the_page_are_plain() -> None:
    prose = {path: path.read_text(encoding="utf-8").replace("Promise<", "") for path in texts()}

    banned = [f"{location(path)}: {found[0]}" for path, text in prose.items() for found in BANNED.finditer(text)]

    assert not banned, listed(banned)


def texts() -> list[Path]:
    return [path for path in SOURCES.rglob("*") if path.suffix in TEXTS]
