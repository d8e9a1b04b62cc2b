"""The diagrams of docs/architecture.md agree with the code."""

import ast
import re

import pytest

from tests.laws.sources import ROOT, listed, tree
from tests.laws.test_layers import GATEWAY_LEVELS, LEVELS

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
STEP = re.compile(r"^ ?\d+  (\S+) +(\w+) +\S", re.MULTILINE)


def block(title: str) -> str:
    """Return the diagram with that title."""
    (found,) = re.findall(rf"^```text {re.escape(title)}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


@pytest.mark.parametrize(
    ("title", "levels"), [("packages of service", LEVELS), ("packages of service.gateway", GATEWAY_LEVELS)]
)
def test_the_diagram_of_packages_is_the_table_of_levels(title: str, levels: tuple[tuple[str, ...], ...]) -> None:
    rows = [re.match(r"\d+  ((?:\S+ +)+?) *(?=\S+ \S)", line) for line in block(title).splitlines()]
    known = {package for packages in levels for package in packages}
    drawn = [tuple(word for word in line.split()[1:4] if word in known) for line in block(title).splitlines()]

    assert all(rows)
    assert [set(row) for row in drawn] == [set(packages) for packages in levels if packages != ("__main__",)]


def test_each_step_of_an_images_path_is_there() -> None:
    steps = STEP.findall(block("path of an image"))
    missing = []
    for file, name in steps:
        path = ROOT / "service" / file
        defined = path.is_file() and {
            node.name
            for node in tree(path).body
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        }
        if not defined or name not in defined:
            missing.append(f"{file} {name}")

    assert len(steps) == 22
    assert not missing, listed(missing)


def test_each_file_and_name_that_a_recipe_names_is_there() -> None:
    recipes = PAGE[PAGE.index("## How to add a task") :]
    paths = [
        path for path in re.findall(r"`((?:service|tests|deploy|model_store)/[\w/.]*)`", recipes) if "<" not in path
    ]

    assert len(paths) > 15
    assert [path for path in paths if not (ROOT / path).exists()] == []
