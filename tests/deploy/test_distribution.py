"""The packages that `make dist` builds work without the repository: in a fresh environment, in an empty folder."""

import json
import os
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pydantic
import pytest

from service import __version__
from service.host.processes import free_port
from service.models.default_store import INSTALLED
from tests.commands import ran
from tests.laws.sources import ROOT, listed, versioned_files

pytest.importorskip("hatchling", reason="needs the extra release")

STORE = ROOT / "model_store"
STARTERS = sorted(path.parent.name for path in STORE.glob("starter-*/card.toml"))
CARDS = sorted(path.parent.name for path in STORE.glob("*/card.toml"))
LIBRARIES = Path(pydantic.__file__).parents[1]  # what the tests run with stands in for the download of dependencies


def build(folder: Path, into: Path, *kinds: str) -> None:
    """Build the wheel through the source archive, or what `kinds` says, as `make dist` does."""
    ran(sys.executable, "-m", "build", "--no-isolation", *kinds, "--outdir", into, folder)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with source archive and wheel of the service, and the wheel of the starter models."""
    folder = tmp_path_factory.mktemp("dist")
    build(ROOT, folder)
    build(STORE, folder, "--wheel")
    return folder


def wheel(dist: Path, name: str) -> Path:
    (found,) = dist.glob(f"{name}-*.whl")
    return found


def packed(path: Path) -> set[str]:
    """Return the files of a wheel without its metadata."""
    with zipfile.ZipFile(path) as opened:
        return {name for name in opened.namelist() if ".dist-info/" not in name}


class Environment:
    """A fresh virtual environment with these wheels, and an empty folder in which commands run."""

    def __init__(self, folder: Path, *wheels: Path) -> None:
        venv.create(folder / "venv")
        self.bin = folder / "venv" / "bin"
        self.folder = folder / "empty"
        self.folder.mkdir()
        # Each command compiles what it imports, a third of the modules.
        options = ["--no-deps", "--no-index", "--no-compile", "--quiet", "--disable-pip-version-check"]
        ran(sys.executable, "-m", "pip", "--python", self.bin / "python", "install", *options, *wheels)
        (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
        site.joinpath("libraries.pth").write_text(f"{LIBRARIES}\n", encoding="utf-8")
        self.store = site / INSTALLED

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run `resnest-service` with these words, without the variables of this process."""
        environment = {"PATH": f"{self.bin}:/usr/bin:/bin", "HOME": str(self.folder), **variables}
        return subprocess.run(
            [str(self.bin / "resnest-service"), *words],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An environment with the service and its starter models."""
    wheels = [wheel(dist, name) for name in ("resnest_service", "resnest_starter_models")]
    return Environment(tmp_path_factory.mktemp("installed"), *wheels)


def test_the_wheel_has_every_file_of_the_package_and_every_card(dist: Path) -> None:
    written = [path for path in versioned_files() or () if path.is_relative_to(ROOT / "service")]
    names = {str(path.relative_to(ROOT)) for path in written}
    cards = {f"{INSTALLED}/{name}/card.toml" for name in set(CARDS) - set(STARTERS)}
    shared = {f"{INSTALLED}/{path.relative_to(STORE)}" for path in (STORE / "labels").iterdir()}

    found = packed(wheel(dist, "resnest_service"))

    assert len(cards) > 90
    assert found == names | cards | shared | {f"{INSTALLED}/example.jpg"}, listed(found ^ (names | cards | shared))


def test_the_starter_models_are_a_package_of_their_own_with_their_licence(dist: Path) -> None:
    path = wheel(dist, "resnest_starter_models")
    expected = {f"{INSTALLED}/{name}/{file}" for name in STARTERS for file in FILES}
    domains = {f"{INSTALLED}/{each.relative_to(STORE)}" for each in STORE.glob("starter-*/domain-*.safetensors")}

    assert packed(path) == expected | domains
    with zipfile.ZipFile(path) as opened:
        (metadata,) = (opened.read(name).decode() for name in opened.namelist() if name.endswith("/METADATA"))
    licences = {tomllib.loads((STORE / name / "card.toml").read_text("utf-8"))["licence"] for name in STARTERS}
    assert {f"License-Expression: {licence}" for licence in licences} <= set(metadata.splitlines())


FILES = ("card.toml", "labels.txt", "weights.safetensors")


def test_the_source_archive_has_what_the_wheel_is_built_from_and_the_documents(dist: Path) -> None:
    (path,) = dist.glob("*.tar.gz")
    with tarfile.open(path) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}

    assert {"pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "docs/api.md"} <= names
    assert not [name for name in names if name.endswith(".safetensors") or name.startswith("tests/")]


def test_the_version_is_that_of_the_package(dist: Path, installed: Environment) -> None:
    assert wheel(dist, "resnest_service").name.split("-")[1] == __version__
    assert installed.run("--version").stdout.split()[-1] == __version__


def test_the_models_are_found_without_a_repository(installed: Environment) -> None:
    done = installed.run("models", "list", "--json")

    assert done.returncode == 0, done.stderr
    states = {card["name"]: card["state"] for card in json.loads(done.stdout)}
    assert sorted(states) == CARDS
    assert sorted(name for name, state in states.items() if state == "ready") == STARTERS


def test_doctor_finds_no_problem(installed: Environment) -> None:
    done = installed.run("doctor", RESNEST_PORT=str(free_port()))

    assert done.returncode == 0, done.stdout + done.stderr
    assert str(installed.store) in done.stdout.replace("\n", "")


def test_an_image_is_classified_in_process(installed: Environment) -> None:
    done = installed.run("classify", "--local", "--json", str(installed.store / "example.jpg"))

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["predictions"][0]["label"] == "cat"


def test_without_the_starter_models_it_says_what_to_install(dist: Path, tmp_path: Path) -> None:
    bare = Environment(tmp_path, wheel(dist, "resnest_service"))

    done = bare.run("run", RESNEST_PORT=str(free_port()))

    assert done.returncode == 1
    assert "install resnest-starter-models, or name models to pull with --models" in done.stderr


@pytest.mark.stress
def test_the_wheels_install_with_all_dependencies_and_serve(dist: Path, tmp_path: Path) -> None:
    """Download what the wheels require, start the service in an empty folder, and ask it."""
    ran(sys.executable, "-m", "venv", tmp_path / "venv")
    python = tmp_path / "venv" / "bin" / "python"
    service = f"{wheel(dist, 'resnest_service')}[worker]"
    options = ["--quiet", "--disable-pip-version-check", "--constraint", ROOT / "constraints.txt"]
    install = [python, "-m", "pip", "install", *options, service, wheel(dist, "resnest_starter_models")]
    subprocess.run([str(word) for word in install], check=True, timeout=1500, env=os.environ)

    from tests.e2e.running import running  # noqa: PLC0415 - only here

    program = [str(python.with_name("resnest-service")), "run"]
    with running(tmp_path, tmp_path / "run", free_port(), program=program, RESNEST_MODEL_STORE="") as served:
        served.await_ready()
        answer = served.client.post("/v1/classify", files={"file": (STORE / "example.jpg").read_bytes()})
    assert answer.json()["results"][0]["predictions"][0]["label"] == "cat"
