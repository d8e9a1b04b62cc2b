"""Which package of `service` may import which: the tables of levels, and the tests that enforce them."""

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

from tests.laws.sources import ROOT, docstrings, listed, location, python_files, tree

TORCH = {"torch", "torchvision", "safetensors", "timm"}
WEB = {"fastapi", "starlette", "uvicorn", "aiohttp", "multipart", "python_multipart", "prometheus_client"}

# Packages of `service` from top to bottom, a level in each row. A package imports only from levels below its own.
LEVELS = (
    ("__main__",),
    ("cli",),
    ("gateway", "worker", "measure"),
    ("engines", "host"),
    ("config",),
    ("tasks",),
    ("imaging",),
    ("models",),
    ("networks", "errors"),
)
# The same inside `service.gateway`.
GATEWAY_LEVELS = (
    ("__main__",),
    ("server",),
    ("app",),
    ("routes", "playground"),
    ("components",),
    ("inference",),
    ("access", "uploads"),
    ("http", "backend"),
    ("metrics",),
    ("scheduling",),
)
LOADS_TORCH = (
    "networks* engines* worker* models.weights.checkpoint models.weights.convert models.weights.fitting "
    "models.weights.key_names "
    "models.weights.pickles tasks.*head measure.pipeline measure.accuracy* measure.limit.throughput"
)
LOADS_WEB = "gateway*"

MAY_NAME_TORCHSERVE = {
    "service/gateway/backend/torchserve.py",  # its HTTP client
    "service/gateway/app.py",  # uses that client unless it is given another
    "service/worker/handler.py",  # its workers
    "service/worker/process.py",
    "service/worker/election.py",
    "service/worker/leader.py",
    "service/worker/messages.py",
    "service/host/torchserve.py",  # its model directories and configuration
    "service/host/worker_program.py",
    "service/host/supervisor.py",  # its process
    "service/host/torchserve_log.py",  # the log of its process
}
# Statements that a module may have at its top level: they only define names.
INERT = (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
INERT_TESTS = {"TYPE_CHECKING", "__name__ == '__main__'"}


@cache
def modules() -> dict[str, Path]:
    """Return the file of each module of `service`, such as `gateway.app`, without `service` itself."""
    found = {}
    for path in python_files("service"):
        parts = path.relative_to(ROOT / "service").with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = path
    del found[""]
    return found


def package_of(module: str) -> str:
    """Return the package of `service`, or of `service.gateway`, that has a module: `gateway` for `gateway.app`."""
    return module.partition(".")[0]


def matches(module: str, patterns: str) -> bool:
    return any(fnmatch(module, pattern) for pattern in patterns.split())


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and module of each import, also in functions.

    `from service.models import cards` is an import of `service.models.cards`.
    """
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{location(path, node.lineno)}: a relative import"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield node.lineno, deeper if deeper.removeprefix("service.") in modules() else str(node.module)


def arrows(prefix: str) -> Iterator[tuple[str, str, str]]:
    """Yield place, importing package and imported package of each import between packages under `prefix`."""
    for module, path in modules().items():
        for line, imported in imports(path):
            if f"service.{module}".startswith(prefix) and imported.startswith(prefix):
                importer, target = (package_of(name.removeprefix(prefix)) for name in (f"service.{module}", imported))
                if importer != target:
                    yield location(path, line), importer, target


@pytest.mark.parametrize(
    ("prefix", "levels"), [("service.", LEVELS), ("service.gateway.", GATEWAY_LEVELS)], ids=["service", "gateway"]
)
def test_a_package_imports_only_from_levels_below_its_own(prefix: str, levels: tuple[tuple[str, ...], ...]) -> None:
    depth = {package: level for level, packages in enumerate(levels) for package in packages}
    upward = [
        f"{where}: {importer} imports {target}"
        for where, importer, target in arrows(prefix)
        if depth[target] <= depth[importer]
    ]

    assert not upward, listed(upward)


@pytest.mark.parametrize(
    ("folder", "levels"), [("service", LEVELS), ("service/gateway", GATEWAY_LEVELS)], ids=["service", "gateway"]
)
def test_every_package_stands_in_exactly_one_level(folder: str, levels: tuple[tuple[str, ...], ...]) -> None:
    entries = {
        path.stem for path in (ROOT / folder).iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()
    }

    assert sorted(package for packages in levels for package in packages) == sorted(entries - {"__init__"})


def forbidden_packages(module: str) -> set[str]:
    """Return the third-party packages that a module must never load."""
    torch = set() if matches(module, LOADS_TORCH) else TORCH
    return torch | (set() if matches(module, LOADS_WEB) else WEB)


def test_a_module_never_names_a_package_it_must_not_load() -> None:
    named = [
        f"{location(path, line)} imports {imported}"
        for module, path in modules().items()
        if package_of(module) != "cli"  # a command imports what it needs when it is called
        for line, imported in imports(path)
        if imported.partition(".")[0] in forbidden_packages(module)
    ]

    assert not named, listed(named)


def watched(folder: Path, *names: str) -> tuple[set[str], list[str]]:
    """Return the packages that importing these modules loads, and the side effects of importing them."""
    script = ROOT / "tests" / "laws" / "import_watch.py"
    command = [sys.executable, "-P", str(script), str(folder), *names]
    done = subprocess.run(command, cwd=folder.parent, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    return set(report["loaded"]), report["effects"]


@pytest.mark.parametrize(
    "never_loaded", sorted({tuple(sorted(forbidden_packages(each))) for each in modules()}), ids=" ".join
)
def test_importing_loads_nothing_that_it_must_not_and_does_nothing_else(never_loaded: tuple[str, ...]) -> None:
    names = [f"service.{module}" for module in modules() if forbidden_packages(module) == set(never_loaded)]

    loaded, effects = watched(ROOT / "service", *names)

    assert not loaded & set(never_loaded), listed(loaded & set(never_loaded))
    assert not effects, listed(effects)


def test_the_watch_sees_what_an_import_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "package"
    package.mkdir()
    package.joinpath("__init__.py").touch()
    package.joinpath("reads.py").write_text("from pathlib import Path\nPath(__file__).read_text()\n")
    package.joinpath("listens.py").write_text("import socket\nsocket.socket().close()\n")
    package.joinpath("threads.py").write_text(
        "import threading\nt = threading.Thread(target=int)\nt.start()\nt.join()\n"
    )
    package.joinpath("inert.py").write_text("import json, socket, threading\ndef read():\n    open(__file__)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    loaded, effects = watched(package, "package.reads", "package.listens", "package.threads", "package.inert")

    assert {effect.partition(":")[0] for effect in effects} == {"package.reads", "package.listens", "package.threads"}
    assert "socket" in loaded


def test_a_modules_top_level_only_gives_names_to_things() -> None:
    acting = [
        location(path, node.lineno)
        for path in python_files("service", "model_store")
        for node in tree(path).body
        if not isinstance(node, INERT)
        and not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))
        and not (isinstance(node, ast.If) and ast.unparse(node.test) in INERT_TESTS)
    ]

    assert not acting, listed(acting)


def test_only_the_files_that_deal_with_torchserve_name_it() -> None:
    naming = {location(path) for path in python_files("service") if any(names_of_torchserve(path))}

    assert "service/gateway/backend/torchserve.py" in naming
    assert not naming - MAY_NAME_TORCHSERVE, listed(naming - MAY_NAME_TORCHSERVE)


def names_of_torchserve(path: Path) -> Iterator[ast.AST]:
    """Yield the names and the strings (without prose) that contain the name of TorchServe."""
    prose = docstrings(tree(path))
    ours = {name.rpartition(".")[2] for _, name in imports(path) if name.startswith("service.")}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom | ast.alias) or (isinstance(node, ast.Name) and node.id in ours):
            continue  # a module of `service` may have TorchServe's name
        words = [value for _, value in ast.iter_fields(node) if isinstance(value, str)]
        spoken = id(node) in prose or any(re.search(r"\w[\w'.,]* \w", word) for word in words)
        if not spoken and re.search("torchserve", " ".join(words), re.IGNORECASE):
            yield node


def test_no_file_imports_torchserve_itself() -> None:
    found = [
        location(path, line)
        for path in python_files("service", "model_store")
        for line, module in imports(path)
        if module.partition(".")[0] in {"ts", "model_archiver", "torchserve"}
    ]

    assert not found, listed(found)
