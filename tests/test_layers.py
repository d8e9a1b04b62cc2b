"""Who may know whom: the table is the picture of the house, and its guard."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.sources import ROOT, docstrings, listed, place, python_files, tree

TORCH = {"torch", "torchvision", "safetensors", "timm"}
WEB = {"fastapi", "starlette", "uvicorn", "aiohttp", "multipart", "python_multipart", "prometheus_client"}
ANYTHING = "*"
WORDS = (
    "problem refusals errors schemas schemas.* cards cores files identity inputs keys labels memory orphans passes "
    "envelope questions seats signals tables traffic"
)
PICTURES = "declared heic images bombs colour preprocess masks outlines run_lengths painting heat"
BENCH = (
    "bench bench.arrivals bench.corpus bench.load bench.plot bench.report bench.session bench.summary bench.sweep "
    "bench.trial bench.usage bench.wire"
)
WEIGHTS = "weights.archive weights.download weights.keys weights.own weights.store"


class Layer(NamedTuple):
    """One row of the house: its modules under `service`, the rows it may import, and packages it must never load."""

    name: str
    modules: str
    may_import: str
    never_loads: set[str]


# Top to bottom, from what knows nothing to what knows everything. A row may always import itself.
HOUSE = [
    Layer("leaves", f"{WORDS} {PICTURES}", "", TORCH | WEB),
    Layer("networks", "networks networks.*", "", WEB | {"PIL", "pydantic"}),
    Layer("weights", f"weights {WEIGHTS}", "leaves conversion", TORCH | WEB),  # imports it inside the two functions
    Layer("conversion", "weights.convert", "leaves weights networks engines", WEB),
    Layer("engines", "engines engines.*", "leaves networks weights", WEB),
    Layer("tasks", "handlers", "leaves", TORCH | WEB),
    Layer("handlers", "handlers.*", "leaves engines tasks", WEB),
    Layer("offline", "pipeline evaluation evaluation.* bench.limit", "leaves engines measuring", WEB),
    Layer("gateway", "gateway gateway.*", "leaves", TORCH),
    Layer(
        "host", "processes folders gateways health worker_log packaging supervisor", "leaves weights tasks", TORCH | WEB
    ),
    Layer("measuring", BENCH, "leaves host", TORCH | WEB),
    Layer(
        "command", "cli models_cli evaluate_cli bench_cli keys_cli quantise_cli options __main__", ANYTHING, TORCH | WEB
    ),
]
LAYERS = {layer.name: layer for layer in HOUSE}
NAMES = list(LAYERS)

MAY_NAME_TORCHSERVE = {
    "service/gateway/backend.py",  # its HTTP client
    "service/gateway/app.py",  # takes that client where it is handed no other
    "service/handlers/base.py",  # the calls its worker makes
    "service/packaging.py",  # its model directories and configuration
    "service/supervisor.py",  # its process
}
# What may stand at a module's top level: nothing of it does anything but give names to things.
INERT = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INERT_TESTS = {"TYPE_CHECKING", "__name__ == '__main__'"}


@cache
def modules() -> dict[str, Path]:
    """`gateway.app` -> its file, for every module of `service` but itself."""
    found = {}
    for path in python_files("service"):
        parts = path.relative_to(ROOT / "service").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    del found[""]
    return found


def rows_of(module: str) -> list[str]:
    """The rows whose patterns fit a module; `handlers.*` does not fit `handlers`."""
    return [layer.name for layer in HOUSE if any(fnmatch(module, pattern) for pattern in layer.modules.split())]


def members(row: str) -> list[str]:
    return [module for module in modules() if row in rows_of(module)]


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Every import of a file, inside functions too: `from service import cards` is its line and `service.cards`."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{place(path, node.lineno)}: a relative import"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield node.lineno, deeper if deeper.removeprefix("service.") in modules() else str(node.module)


def test_every_module_stands_in_exactly_one_row() -> None:
    assert {module: rows for module in modules() if len(rows := rows_of(module)) != 1} == {}


@pytest.mark.parametrize("row", NAMES)
def test_a_row_imports_only_the_rows_it_may(row: str) -> None:
    allowed = {*LAYERS[row].may_import.split(), row}
    strangers = [
        f"{place(modules()[module], line)} imports {imported}"
        for module in members(row)
        for line, imported in imports(modules()[module])
        if imported.startswith("service.")
        and ANYTHING not in allowed
        and not allowed & set(rows_of(imported.removeprefix("service.")))
    ]

    assert not strangers, listed(strangers)


@pytest.mark.parametrize("row", NAMES)
def test_a_row_never_names_a_package_it_must_not_load(row: str) -> None:
    if ANYTHING in LAYERS[row].may_import:
        pytest.skip("the command imports each part when it is asked for, and none before")
    named = [
        f"{place(modules()[module], line)} imports {imported}"
        for module in members(row)
        for line, imported in imports(modules()[module])
        if imported.partition(".")[0] in LAYERS[row].never_loads
    ]

    assert not named, listed(named)


def watched(folder: Path, *names: str) -> tuple[set[str], list[str]]:
    """The packages that importing these modules loads, and what else importing them does."""
    script = ROOT / "tests" / "import_watch.py"
    command = [sys.executable, "-P", str(script), str(folder), *names]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return set(report["loaded"]), report["effects"]


@pytest.mark.parametrize("row", NAMES)
def test_importing_a_row_loads_nothing_it_must_not_and_does_nothing_else(row: str) -> None:
    loaded, effects = watched(ROOT / "service", *(f"service.{module}" for module in members(row)))

    assert not loaded & LAYERS[row].never_loads, listed(loaded & LAYERS[row].never_loads)
    assert not effects, listed(effects)


def test_the_watch_sees_what_an_import_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    house = tmp_path / "house"
    house.mkdir()
    house.joinpath("__init__.py").touch()
    house.joinpath("reads.py").write_text("from pathlib import Path\nPath(__file__).read_text()\n")
    house.joinpath("listens.py").write_text("import socket\nsocket.socket().close()\n")
    house.joinpath("threads.py").write_text("import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n")
    house.joinpath("inert.py").write_text("import json, socket, threading\ndef read():\n    open(__file__)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    loaded, effects = watched(house, "house.reads", "house.listens", "house.threads", "house.inert")

    assert {effect.partition(":")[0] for effect in effects} == {"house.reads", "house.listens", "house.threads"}
    assert "socket" in loaded


def test_a_modules_top_level_only_gives_names_to_things() -> None:
    acting = [
        place(path, node.lineno)
        for path in python_files("service", "model_store")
        for node in tree(path).body
        if not isinstance(node, INERT)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.If) and ast.unparse(node.test) in INERT_TESTS)
    ]

    assert not acting, listed(acting)


def test_only_the_files_that_deal_with_torchserve_name_it() -> None:
    naming = {place(path) for path in python_files("service") if any(names_of_torchserve(path))}

    assert "service/gateway/backend.py" in naming
    assert not naming - MAY_NAME_TORCHSERVE, listed(naming - MAY_NAME_TORCHSERVE)


def names_of_torchserve(path: Path) -> Iterator[ast.AST]:
    """The names, and the strings that are no prose, in which TorchServe is named."""
    prose = docstrings(tree(path))
    for node in ast.walk(tree(path)):
        words = [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
        spoken = id(node) in prose or any(re.search(r"\w[\w'.,]* \w", word) for word in words)
        if not spoken and re.search("torchserve", " ".join(words), re.IGNORECASE):
            yield node


def test_no_file_imports_torchserve_itself() -> None:
    found = [
        place(path, line)
        for path in python_files("service", "model_store")
        for line, module in imports(path)
        if module.partition(".")[0] in {"ts", "model_archiver", "torchserve"}
    ]

    assert not found, listed(found)
