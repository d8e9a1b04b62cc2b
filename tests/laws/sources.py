"""The project's own files and what stands in them, for the tests of the laws."""

import ast
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHON_FOLDERS = ("service", "tests", "benchmarks", "model_store", "deploy")
MADE = {"archives", ".venvs"}  # folders that commands write
Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@cache
def python_files(*folders: str) -> tuple[Path, ...]:
    """Every Python file under these folders, all of the project's where none is given."""
    found = [path for folder in folders or PYTHON_FOLDERS for path in (ROOT / folder).rglob("*.py")]
    return tuple(sorted(path for path in found if not MADE & set(path.parts)))


@cache
def tree(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(path.read_text(encoding="utf-8"))


def place(path: Path, line: int | None = None) -> str:
    """A file, and a line in it, as a failing test names it."""
    return f"{path.relative_to(ROOT)}{'' if line is None else f':{line}'}"


def listed(found: Iterable[str]) -> str:
    """What a failing test says: each of them on a line."""
    return "\n".join(("", *sorted(found)))


@cache
def versioned_files() -> tuple[Path, ...] | None:
    """What git has, or would take, of this checkout; None where there is no git or no checkout."""
    if not shutil.which("git") or not (ROOT / ".git").exists():
        return None
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout.split(b"\0")
    paths = [ROOT / os.fsdecode(name) for name in listed if name]
    return tuple(sorted(path for path in paths if path.is_file() and not path.is_symlink()))


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Functions and classes with their dotted names, methods and nested functions included."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from definitions(child, f"{name}.")
        else:
            yield from definitions(child, prefix)


def public(node: ast.Module | ast.ClassDef, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """The public classes, functions and methods of a module."""
    for child in node.body:
        if isinstance(child, Definition) and not child.name.startswith("_"):
            yield f"{prefix}{child.name}", child
            if isinstance(child, ast.ClassDef):
                yield from public(child, f"{prefix}{child.name}.")


def docstrings(module: ast.Module) -> set[int]:
    """The ids of the constant nodes that are docstrings."""
    bodies = [node.body for node in ast.walk(module) if isinstance(node, ast.Module | Definition)]
    first = [body[0].value for body in bodies if body and isinstance(body[0], ast.Expr)]
    return {id(value) for value in first if isinstance(value, ast.Constant)}
