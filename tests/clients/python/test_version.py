"""The wheel: it is built from the sources, is complete, and works without the repository."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import resnest_client

from tests.laws.sources import ROOT

SOURCES = ROOT / "clients" / "python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built without the network from a copy of the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--quiet", "--disable-pip-version-check"]
    copy = folder / "sources"
    for path in [path for path in SOURCES.rglob("*") if path.is_file() and "__pycache__" not in path.parts]:
        target = copy / path.relative_to(SOURCES)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", str(folder), str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_every_module_the_types_and_the_licence(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as opened:
        packed = {name for name in opened.namelist() if ".dist-info" not in name}
        metadata = [name for name in opened.namelist() if name.endswith("/LICENSE")]

    written = {str(path.relative_to(SOURCES)) for path in (SOURCES / "resnest_client").glob("*.py*")}
    assert packed == written | {"resnest_client/py.typed"}
    assert len(metadata) == 1


def test_the_version_is_that_of_the_package(wheel: Path) -> None:
    assert wheel.name == f"resnest_client-{resnest_client.__version__}-py3-none-any.whl"


def test_the_installed_package_works_alone(wheel: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import resnest_client; print(resnest_client.__file__)"]
    environment = {"PYTHONPATH": str(wheel)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    assert done.stdout.startswith(str(wheel)), done.stderr
