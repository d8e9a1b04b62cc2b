"""`python -m benchmarks.gpu.bundle FILE.tar.xz`: pack what the GPU program needs on a machine without a package index.

The machine has an interpreter of the given version, torch, numpy and Pillow. It needs no Java. The archive has the
other packages, installed for that interpreter. docs/benchmarks.md says how to carry it.
"""

import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import click

from benchmarks.contest.contestants import ROOT

CONSTRAINTS = ROOT / "constraints.txt"
# What `benchmarks.gpu --engine-only` loads besides torch, numpy, Pillow and the packages that torch requires itself.
PACKAGES = (
    "annotated-types",
    "click",
    "orjson",
    "pydantic",
    "pydantic-core",
    "safetensors",
    "shapely",
    "tomlkit",
    "typing-extensions",
    "typing-inspection",
)
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def pinned(names: tuple[str, ...], constraints: Path = CONSTRAINTS) -> list[str]:
    """Return each package with its version from the constraints. Raises `KeyError` for one that has none."""
    lines = constraints.read_text(encoding="utf-8").split()
    versions = {_normal(name): version for name, _, version in (line.partition("==") for line in lines)}
    return [f"{name}=={versions[_normal(name)]}" for name in names]


def pip_command(folder: Path, python: str) -> list[str]:
    """Return the command that unpacks the packages for an interpreter of another version."""
    platforms = [word for each in PLATFORMS for word in ("--platform", each)]
    return [
        *(
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "install",
            "--quiet",
            "--no-deps",
            "--no-compile",
        ),
        *("--only-binary", ":all:", "--implementation", "cp", "--python-version", python, *platforms),
        *("--target", str(folder), *pinned(PACKAGES)),
    ]


def without_tests(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Return the member of an archive, or None for the tests of a package."""
    return None if "tests" in Path(member.name).parts else member


def _normal(name: str) -> str:
    return name.lower().replace("_", "-")


@click.command(help=__doc__)
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--python", default="3.12", show_default=True, help="Version of the machine's interpreter.")
def main(file: Path, python: str) -> None:
    """Pack the packages."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bundle-") as folder:
        subprocess.run(pip_command(Path(folder), python), check=True)  # noqa: S603
        with tarfile.open(file, "w:xz") as archive:
            for path in sorted(Path(folder).iterdir()):
                archive.add(path, path.name, filter=without_tests)
    click.echo(f"{file}: {len(PACKAGES)} packages for Python {python}, {file.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
