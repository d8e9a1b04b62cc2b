"""Tests of what the GPU program needs on a machine without a package index."""

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from benchmarks.contest.contestants import ROOT
from benchmarks.gpu import bundle

# Cython puts a module without a file, and so without a specification, among the modules.
LOADED = (
    "import json, sys; {}; "
    "names = {{name.partition('.')[0] for name, module in sys.modules.items() if getattr(module, '__spec__', None)}}; "
    "print(json.dumps(sorted(names - set(sys.stdlib_module_names))))"
)
OURS = {"benchmarks", "service", "tests"}


def loaded_by(statement: str) -> set[str]:
    """Return the packages, except those of the standard library, that a statement loads in a process of its own."""
    command = [sys.executable, "-W", "error", "-c", LOADED.format(statement)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=200)
    return set(json.loads(done.stdout))


def test_the_bundle_has_all_that_the_program_loads_beside_what_the_machine_has() -> None:
    needed = loaded_by("import benchmarks.gpu.__main__") - loaded_by("import torch, numpy, PIL") - OURS
    carried = {name.replace("-", "_") for name in bundle.PACKAGES}
    assert {name for name in needed if not name.startswith("_")} <= carried


def test_every_package_is_pinned_by_the_constraints(tmp_path: Path) -> None:
    pins = bundle.pinned(bundle.PACKAGES)
    assert [pin.partition("==")[0] for pin in pins] == list(bundle.PACKAGES)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("a_b==1.2\n", encoding="utf-8")
    assert bundle.pinned(("a-b",), constraints) == ["a-b==1.2"]
    with pytest.raises(KeyError):
        bundle.pinned(("c",), constraints)


def test_only_wheels_for_the_machines_interpreter_are_installed(tmp_path: Path) -> None:
    command = bundle.pip_command(tmp_path, "3.12")
    assert command[command.index("--python-version") + 1] == "3.12"
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert "--no-deps" in command


def test_tests_of_packages_are_left_out() -> None:
    kept, left = tarfile.TarInfo("shapely/lib.so"), tarfile.TarInfo("shapely/tests/test_a.py")
    assert bundle.without_tests(kept) is kept
    assert bundle.without_tests(left) is None
