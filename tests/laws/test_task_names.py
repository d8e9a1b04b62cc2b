"""Only the folder of a task names the task, its scope, its routes and its operations."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.tasks import PREDICT, TASKS
from tests.laws.sources import ROOT, docstrings, listed, location, python_files, tree

WORDS = {
    word
    for task in TASKS.values()
    for word in (
        task.name,
        task.scope,
        *(each.path for each in task.endpoints),
        *(each.name for each in task.operations),
    )
} - {PREDICT}
ROUTE = re.compile(r"/v1/[a-z]+")
# `classification` is also the name of an extension of the Open Inference Protocol: the best classes with their labels.
EXTENSION = "classification"
NAME_EXTENSIONS = {
    "service/gateway/routes/open_inference/v2.py",
    "service/gateway/routes/open_inference/v2_tensors.py",
    "service/gateway/routes/examples.py",
}


def is_of_a_task(path: Path) -> bool:
    """Return whether a file is in the folder of a task, or is the registry."""
    parts = path.relative_to(ROOT / "service").parts
    return parts[0] == "tasks" and (len(parts) > 2 or parts[1] == "__init__.py")


def words_in(path: Path) -> Iterator[tuple[int, str]]:
    """Yield each string with a word of a task, and its line. Prose of four or more words may name tasks."""
    module = tree(path)
    prose = docstrings(module)
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in prose:
            routes = set(ROUTE.findall(node.value)) & WORDS
            is_prose = len(node.value.split()) > 3
            if routes or (not is_prose and WORDS & set(re.split(r"[^\w/]+", node.value))):
                yield node.lineno, node.value


def test_no_module_outside_a_tasks_folder_names_it() -> None:
    found = [
        f"{location(path, line)} {text!r}"
        for path in python_files("service")
        if not is_of_a_task(path)
        for line, text in words_in(path)
        if not (text == EXTENSION and location(path) in NAME_EXTENSIONS)
    ]

    assert not found, listed(found)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_operations_examples_scores_and_a_section_in_the_manual(name: str) -> None:
    task = TASKS[name]
    manual = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")

    assert task.operations[0].name == PREDICT
    assert all(len(each.examples()) == len(each.responses) for each in task.endpoints)
    assert all(each.path in manual for each in task.endpoints)
    assert (ROOT / (task.scoring.replace(".", "/") + ".py")).is_file()
    assert (ROOT / (task.head.replace(".", "/") + ".py")).is_file()
