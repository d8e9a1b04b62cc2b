"""deploy/locks has what the images install: every library in the version that was tested, with its hashes."""

import re

import pytest

from tests.deploy.programs import run
from tests.deploy.test_licences import MAKEFILE, canonical, required
from tests.laws.sources import ROOT

LOCKS = ROOT / "deploy/locks"
# The extras of each lock, as `make lock` writes it.
EXTRAS = {"gateway": "jwt,otel,redis", "worker": "otel,worker", "worker-cpu": "otel,worker"}
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", re.MULTILINE)

every_lock = pytest.mark.parametrize("name", [*EXTRAS, "build"])


def entries(name: str) -> list[str]:
    """Return the requirements of a lock, each with its marker and its hashes."""
    text = (LOCKS / f"{name}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def versions(text: str) -> dict[str, set[str]]:
    """Return the versions of each library; a lock may have several of one, for different platforms."""
    found: dict[str, set[str]] = {}
    for name, version in PINNED.findall(text):
        found.setdefault(canonical(name), set()).add(version.partition("+")[0])
    return found


@every_lock
def test_every_library_has_one_version_and_the_hashes_of_its_files(name: str) -> None:
    assert len(entries(name)) > 5
    for entry in entries(name):
        assert PINNED.match(entry), entry
        assert HASH.search(entry), entry


@every_lock
def test_the_versions_are_those_that_were_tested(name: str) -> None:
    tested = versions((ROOT / "constraints.txt").read_text(encoding="utf-8"))
    locked = versions("\n".join(entries(name)))

    assert {library: found for library, found in locked.items() if not found <= tested.get(library, found)} == {}


@pytest.mark.parametrize("name", EXTRAS)
def test_a_lock_has_all_that_its_image_needs(name: str) -> None:
    assert required(EXTRAS[name].split(",")) <= versions("\n".join(entries(name))).keys(), "run make lock"


def test_the_extras_are_those_of_make_lock() -> None:
    written = dict(re.findall(r"--extra ([\w,]+)[^\0]*?--output-file deploy/locks/(\w+)", MAKEFILE))

    assert written == {EXTRAS["gateway"]: "gateway", EXTRAS["worker"]: "worker"}


@pytest.mark.parametrize(
    ("index", "lock"),
    [("", "worker"), ("https://host/whl/cpu", "worker-cpu"), ("https://host/whl/cpu//", "worker-cpu")],
)
def test_make_lock_writes_the_lock_of_the_index_whether_it_ends_in_a_slash(index: str, lock: str) -> None:
    commands = run("make", "--no-print-directory", "--dry-run", "lock", f"TORCH_INDEX={index}")
    assert commands.rstrip().endswith(f"deploy/locks/{lock}.txt")


@pytest.mark.parametrize("name", ["gateway", "build"])
def test_neither_the_gateway_nor_the_build_has_torch(name: str) -> None:
    assert "torch" not in versions("\n".join(entries(name)))


def test_the_lock_for_cpus_has_no_library_of_cuda() -> None:
    """nvidia-ml-py reads the state of a GPU, and has no CUDA."""
    of_cuda = {
        each for each in versions("\n".join(entries("worker-cpu"))) if re.match(r"nvidia-(?!ml-py)|triton", each)
    }

    assert of_cuda == set()
