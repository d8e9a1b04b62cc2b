"""Commands and their options, settings, make targets, files and sections that the pages name exist."""

import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import click
import pytest

from service.cli.main import main
from service.config.settings import Settings
from service.models.inputs import Input
from tests.laws.sources import ROOT, listed, python_files

RECORD_FOLDER = ROOT / "docs" / "decisions"
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "clients").glob("*/README.md")),
    *sorted(set((ROOT / "docs").rglob("*.md")) - set(RECORD_FOLDER.rglob("*.md"))),
]
RECORDS = sorted(RECORD_FOLDER.glob("*.md"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCED = re.compile(r"^```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
INDENTED = re.compile(r"^    (\S.*)$", re.MULTILINE)
PATH = re.compile(r"(?:\.ci|benchmarks|clients|deploy|docs|service|tests)/[\w./-]+")
GENERATED = ("benchmarks/.venvs", "benchmarks/results", "benchmarks/store")  # written by commands


@cache
def text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def sections(page: Path) -> set[str]:
    """Return the anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", text(page), re.MULTILINE)
    return {re.sub(r"[^\w-]", "", title.strip().lower().replace(" ", "-")) for title in titles}


def code(page: Path) -> Iterator[str]:
    """Yield the code of a page, line by line. A line that ends in a backslash is joined with the next."""
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

    unknown = set(re.findall(r"\bRESNEST_[A-Z_]+[A-Z]", text(page))) - known

    assert not unknown, listed(unknown)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_path_that_a_page_names_is_there(page: Path) -> None:
    named = {path for span in SPAN.findall(text(page)) for path in PATH.findall(span) if PATH.match(span)}

    missing = {path for path in named if not path.startswith(GENERATED) and not (ROOT / path).exists()}

    assert not missing, listed(missing)


def test_a_preprocessing_profile_that_the_page_names_is_one() -> None:
    section = text(ROOT / "docs" / "models.md").partition("\n## Preprocessing\n")[2].partition("\n## ")[0]
    named = set(re.findall(r"^(?:\| |- for )`(\w+)`", section, re.MULTILINE))

    assert len(named) > 2
    assert named <= set(get_args(Input.model_fields["profile"].annotation))


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_target_of_make_that_a_page_names_is_one(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", text(ROOT / "Makefile"), re.MULTILINE))
    named = {target for line in code(page) for target in re.findall(r"^make ([a-z-]+)", line)}

    assert named <= targets, listed(named - targets)


def test_the_table_of_contributing_has_every_target_that_make_lists() -> None:
    listed_by_make = set(re.findall(r"^([a-z-]+):.*## ", text(ROOT / "Makefile"), re.MULTILINE)) - {"help"}
    in_table = set(re.findall(r"^\| `make ([a-z-]+)", text(ROOT / "CONTRIBUTING.md"), re.MULTILINE))

    assert in_table == listed_by_make


def test_a_target_of_make_installs_the_programs_that_it_or_its_script_runs() -> None:
    rules = re.findall(r"^([a-z-]+):(.*?)(?:##.*)?\n((?:\t.*\n)*)", text(ROOT / "Makefile"), re.MULTILINE)
    installing = {target for target, requires, _ in rules if ".stamp" in requires}
    bare = []
    for target, requires, recipe in rules:
        run = recipe + "".join(text(ROOT / script) for script in re.findall(r"\.ci/[\w-]+\.sh", recipe))
        if re.search(r"\$\(BIN\)|\.venv/bin", run) and not installing & {target, *requires.split()}:
            bare.append(target)

    assert len(rules) > 20
    assert not bare, listed(bare)


@pytest.mark.parametrize("page", PAGES, ids=names)
def test_a_command_that_a_page_shows_and_its_options_are_ours(page: Path) -> None:
    wrong = [line for line in code(page) if line.startswith("resnest-service ") and not is_ours(line)]

    assert not wrong, listed(wrong)


def is_ours(line: str) -> bool:
    """Return whether the words name a command of the CLI, and each `--option` is one of that command's."""
    command: click.Command = main
    words = shlex.split(line.partition(" | ")[0].replace("…", ""), comments=True)[1:]
    while words and isinstance(command, click.Group):
        found = command.get_command(click.Context(command), words.pop(0))
        if found is None:
            return False
        command = found
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    return {word.partition("=")[0] for word in words if word.startswith("--")} <= options | {"--help", "--version"}
