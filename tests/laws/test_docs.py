"""What the pages name is there: commands and their options, settings, targets of make, files and sections."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest

from service.cli.main import main
from service.config.settings import Settings
from tests.laws.sources import ROOT, listed, python_files

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
RECORDS = sorted((ROOT / "docs" / "decisions").glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def sections(page: Path) -> set[str]:
    """The anchors of a page's headings, as they are made of their text."""
    titles = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w-]", "", title.strip().lower().replace(" ", "-")) for title in titles}


def code(page: Path) -> Iterator[str]:
    """What a page shows as code, line by line; a line that goes on on the next one is one."""
    fenced = [line for block in FENCED.findall(text(page)) for line in block.replace("\\\n", " ").splitlines()]
    yield from (*fenced, *SPAN.findall(text(page)), *INDENTED.findall(text(page)))


def names(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", [*PAGES, *RECORDS], ids=names)
def test_a_link_leads_to_a_file_and_a_section_that_are_there(page: Path) -> None:
    broken = []
    for link in LINK.findall(text(page)):
        target, _, section = link.partition("#")
        if "://" in target or target.startswith("mailto:"):
            continue
        found = (page.parent / target).resolve() if target else page
        if not found.exists() or (section and section not in sections(found)):
            broken.append(link)

    assert not broken, listed(broken)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_variable_that_a_page_names_is_read(page: Path) -> None:
    ours = "".join(text(path) for path in python_files("service", "benchmarks"))
    known = {f"RESNEST_{name.upper()}" for name in Settings.model_fields} | set(re.findall(r"RESNEST_[A-Z_]+", ours))

    unknown = set(re.findall(r"RESNEST_[A-Z_]+[A-Z]", text(page))) - known

    assert not unknown, listed(unknown)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_target_of_make_that_a_page_names_is_one(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = {target for line in code(page) for target in re.findall(r"^make ([a-z-]+)", line)}

    assert named <= targets, listed(named - targets)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_command_that_a_page_shows_and_its_options_are_ours(page: Path) -> None:
    wrong = [line for line in code(page) if line.startswith("resnest-service ") and not is_ours(line)]

    assert not wrong, listed(wrong)


def is_ours(line: str) -> bool:
    """Whether the words name a command, and each `--option` is one of its."""
    command: click.Command = main
    words = shlex.split(line.partition(" | ")[0].replace("…", ""), comments=True)[1:]
    while words and isinstance(command, click.Group):
        found = command.commands.get(words.pop(0))
        if found is None:
            return False
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {word.partition("=")[0] for word in words if word.startswith("--")} <= options | {"--help", "--version"}
