"""Prose is plain technical English. `python -m tests.laws.prose PATH` lists the rest."""

from pathlib import Path

import pytest

from tests.laws.prose import complaints, passages, sentences
from tests.laws.sources import ROOT, listed, python_files

FOLDERS = ("service", "clients", "benchmarks", "model_store", "tests")
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "clients").glob("*/README.md")), *sorted((ROOT / "docs").rglob("*.md"))]
CONFIGURATION = [
    *(ROOT / "model_store").glob("*/card.toml"),
    *(path for suffix in ("toml", "yml", "yaml") for path in (ROOT / "deploy").rglob(f"*.{suffix}")),
    ROOT / "pyproject.toml",
    ROOT / "docker-compose.yml",
]
WITHOUT_PROSE = {"tests/laws/prose.py"}  # it lists what must not be written


@pytest.mark.parametrize("folder", FOLDERS)
def test_prose_in_code_is_plain(folder: str) -> None:
    files = [path for path in python_files(folder) if str(path.relative_to(ROOT)) not in WITHOUT_PROSE]
    found = [each for path in files for each in complaints(path)]

    assert len(files) > 5
    assert not found, listed(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_prose_on_a_page_is_plain(page: Path) -> None:
    found = list(complaints(page))

    assert not found, listed(found)


def test_cards_and_configuration_have_no_banned_words() -> None:
    found = [each for path in CONFIGURATION for each in complaints(path)]

    assert len(CONFIGURATION) > 50
    assert not found, listed(found)


@pytest.mark.parametrize("suffix", ["toml", "yml", "yaml"])
def test_comments_and_strings_of_configuration_are_checked_for_words_only(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"file.{suffix}"
    lines = ("# whoever reads", "a: 'the door'", "b: https://example.org/picture", f"# {'word ' * 31}", "c: `lane`")
    file.write_text("\n".join(lines), encoding="utf-8")

    assert [each.partition(f".{suffix}:")[2][:12] for each in complaints(file)] == ["1: 'whoever'", "2: 'the door"]


def test_the_check_finds_words_and_long_sentences_wherever_prose_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"Fine.\n\n- {'word ' * 31}\n\n`code of the house`\n\n| the door | fine |\n", encoding="utf-8")
    module = tmp_path / "module.py"
    module.write_text(
        '"""Whoever reads."""\n\n# It is foretold.\nA = "no sentence of late is fine"\n', encoding="utf-8"
    )

    assert [each.split(": ")[1][:12] for each in complaints(page)] == ["31 words", "'the door'"]
    assert [each.split("'")[1] for each in complaints(module)] == ["Whoever", "of late", "foretold"]


def test_a_sentence_ends_at_its_full_stop_and_code_counts_as_one_word() -> None:
    assert list(sentences("One `a b c`. Two 3.5 s; (Three)")) == ["One Code.", "Two 3.5 s;", "(Three)"]


def test_an_address_and_a_directive_are_no_prose(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text('"""Fine."""\n\nA = 1  # noqa: E501\nB = 2  # a reason\n', encoding="utf-8")

    assert [each.text for each in passages(module)] == ["Fine.", "a reason"]
