"""The detail of each problem is one style: a sentence with a capital and a full stop, however it is raised."""

import ast
from collections.abc import Iterator
from pathlib import Path

from service import errors
from tests.laws.sources import definitions, listed, location, python_files, tree

FOLDERS = ("service/gateway", "service/imaging", "service/tasks")
NAMES = {error.__name__ for error in errors.every_error()} | {"invalid"}
# The position of the detail: `invalid(parameter, detail)`.
POSITIONS = {"invalid": 1}


def raised() -> Iterator[tuple[Path, ast.expr, ast.AST]]:
    """Yield each expression that is the detail of a problem, with its file and its function."""
    for path in python_files(*FOLDERS):
        for _, function in definitions(tree(path)):
            for node in ast.walk(function):
                name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
                position = POSITIONS.get(name, 0)
                if isinstance(node, ast.Call) and name in NAMES and len(node.args) > position:
                    yield path, node.args[position], function


def literals(expression: ast.expr, function: ast.AST) -> Iterator[ast.expr]:
    """Yield the texts that an expression may be: itself, a branch of it, or what its variable was set to."""
    if isinstance(expression, ast.IfExp):
        yield from literals(expression.body, function)
        yield from literals(expression.orelse, function)
    elif isinstance(expression, ast.JoinedStr | ast.Constant):
        yield expression
    elif isinstance(expression, ast.Name):
        for node in ast.walk(function):
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == expression.id:
                yield from literals(node.value, function) if not isinstance(node.value, ast.Name) else ()


def is_sentence(text: ast.expr) -> bool:
    """Return whether the text begins with a capital or a value, and ends with a full stop or a value."""
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    first, last = (part.value if isinstance(part, ast.Constant) else None for part in (parts[0], parts[-1]))
    begins = first is None or str(first)[0].isupper()
    return begins and (last is None or str(last).endswith((".", "=...")))


def test_every_detail_is_a_sentence() -> None:
    found = {(path, text) for path, expression, function in raised() for text in literals(expression, function)}

    wrong = [f"{location(path, text.lineno)}: {ast.unparse(text)}" for path, text in found if not is_sentence(text)]

    assert len(found) > 100
    assert not wrong, listed(wrong)
