"""The project's files and their syntax trees, for the tests of the laws."""

import ast
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON_FOLDERS = ("service", "clients", "tests", "benchmarks", "model_store", "deploy")
GENERATED = {"archives", "results", "store", ".venvs", "__pycache__", "generated"}  # folders that commands write
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Return every Python file under these folders, or under all of `PYTHON_FOLDERS` if none is given."""
    found = [path for folder in folders or PYTHON_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return tuple(sorted(path for path in found if not GENERATED & set(path.relative_to(ROOT).parts)))


@cache
def tree(path: Path) -> ast.Module:
    """Return the syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def location(path: Path, line: int | None = None) -> str:
    """Return the path of a file from the root, with the line if there is one."""
    return f"{path.relative_to(ROOT)}{'' if line is None else f':{line}'}"


def listed(found: Iterable[str]) -> str:
    """Return the message of a failing test, with each finding on a line."""
    return "\n".join(("", *sorted(found)))


@cache
def versioned_files() -> tuple[Path, ...] | None:
    """Return the files that git tracks or would add. None if there is no git or this is not a checkout."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return None
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    paths = [ROOT / os.fsdecode(name) for name in listed if name]
    return tuple(sorted(path for path in paths if path.is_file() and not path.is_symlink()))


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield functions and classes with their dotted names, methods and nested functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from definitions(child, f"{name}.")
        else:
            yield from definitions(child, prefix)


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield the public classes, functions and methods of a module."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def docstrings(module: ast.Module) -> set[int]:
    """Return the ids of the constant nodes that are docstrings."""
    bodies = [node.body for node in ast.walk(module) if isinstance(node, ast.Module | Definition)]
    first = [body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)]
    return {id(value) for value in first if isinstance(value, ast.Constant)}
