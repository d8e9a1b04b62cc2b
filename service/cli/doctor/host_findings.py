"""Checks of the host: system, Python, Java, processor, memory, files, ports and disks."""

import json
import os
import platform
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from service.cli.doctor.finding import Finding, counted, ok, problem, warning
from service.config.cores import usable_cores
from service.config.settings import MEBIBYTE, Settings
from service.host import health, host_checks
from service.host.run_options import RunOptions, StartError, require_free_port
from service.models.cards import CardError

OLDEST_PYTHON: Final = (3, 11)
WANTED_MEMORY: Final = 2 << 30  # a gateway and the leaders of two small models
WANTED_DISK: Final = 1 << 30  # archives, compiled networks and logs
JAVA_S: Final = 20.0
# Features of x86-64 processors that engines use, in the order of their age.
FEATURES: Final = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
PROJECT: Final = "resnest-service"  # the name at /v2
PROBLEMS: Final = "/problems/"  # with which the type of each problem begins
NOT_SET: Final = "unlimited"
OTHER_PORT: Final = "choose another port with `run --port` or RESNEST_PORT"


def python(version: tuple[int, ...] = sys.version_info[:3]) -> Iterator[Finding]:
    """Check the version of Python."""
    found = f"{'.'.join(map(str, version))} at {sys.executable}"
    if version < OLDEST_PYTHON:
        yield problem("Python", found, "install Python 3.11 or newer, and the service in an environment of it")
    else:
        yield ok("Python", found)


def system(name: str = sys.platform, machine: str = platform.machine()) -> Iterator[Finding]:
    """Check the operating system and the architecture."""
    found = f"{platform.system()} {platform.release()}, {machine}"
    try:
        host_checks.require_linux(name)
    except CardError as error:
        yield problem("platform", found, str(error))
        return
    if machine != "x86_64":
        yield warning("platform", found, "OpenVINO has no wheel here, so PyTorch runs the networks, more slowly")
    else:
        yield ok("platform", found)


def java(environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check that Java is there and starts."""
    try:
        path, fault = host_checks.java(environment)
    except CardError as error:
        yield problem("Java", str(error), "install resnest-service[worker], which brings Java")
        return
    try:
        done = subprocess.run(  # noqa: S603 - the Java that `run` would start
            [path, "-version"], capture_output=True, text=True, timeout=JAVA_S, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        yield problem("Java", f"{path} does not start: {error}", "set JAVA_HOME to another Java, or unset it")
        return
    found = f"{(done.stderr or done.stdout).partition(chr(10))[0]} at {path}"
    if done.returncode:
        yield problem("Java", found, "set JAVA_HOME to another Java, or unset it")
    elif fault:
        yield warning("Java", fault, "correct JAVA_HOME, or unset it")
    else:
        yield ok("Java", found)


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> Iterator[Finding]:
    """Check the cores and the vector instructions."""
    text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    lines = dict(map(_pair, text.splitlines()))
    features = [name for name in FEATURES if name in lines.get("flags", "").split()]
    model = lines.get("model name", platform.machine())
    found = f"{model}, {counted(usable_cores(), 'usable core')}, {', '.join(features) or 'no AVX2'}"
    if "flags" in lines and "avx2" not in features:
        yield warning("processor", found, "networks run several times slower without AVX2; use a newer processor")
    else:
        yield ok("processor", found)


def _pair(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip(), value.strip()


def memory(
    meminfo: Path = Path("/proc/meminfo"), cgroup: Path = Path("/sys/fs/cgroup/memory.max")
) -> Iterator[Finding]:
    """Check the available memory, and the limit of this container."""
    facts = dict(_pair(line) for line in meminfo.read_text(encoding="ascii").splitlines())
    available = int(facts["MemAvailable"].split()[0]) * 1024
    limit = cgroup.read_text(encoding="ascii").strip() if cgroup.is_file() else "max"
    least = min(available, int(limit)) if limit.isdecimal() else available
    found = f"{available >> 20} MiB available" + (f", limited to {int(limit) >> 20} MiB" if limit.isdecimal() else "")
    if least < WANTED_MEMORY:
        cure = "free memory, serve fewer models, or lower the limits in docs/operations/configure.md"
        yield warning("memory", found, cure)
    else:
        yield ok("memory", found)


def open_files() -> Iterator[Finding]:
    """Check how many files and connections may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    found = f"at most {NOT_SET if hard == resource.RLIM_INFINITY else hard}, now {soft}"
    if hard != resource.RLIM_INFINITY and hard < host_checks.FEW_DESCRIPTORS:
        yield warning("open files", found, "raise the limit: ulimit -n 65536")
    else:
        yield ok("open files", found)


def port(settings: Settings) -> Iterator[Finding]:
    """Check that the service can listen on its port."""
    options = RunOptions(settings.model_store, host=settings.host, port=settings.port)
    try:
        require_free_port(options.host, options.port)
    except StartError as error:
        if not health.get(options.address, "/livez")[0]:
            yield problem("port", str(error), f"{OTHER_PORT}, or another host with --host or RESNEST_HOST")
        elif _is_this_service(options.address):
            yield ok("port", f"a resnest-service answers at {options.address}; a second one needs another port")
        else:
            yield warning("port", f"another server answers at {options.address}", f"stop it, or {OTHER_PORT}")
        return
    yield ok("port", f"{options.host} port {options.port} is free")


def _is_this_service(address: str) -> bool:
    """Return whether a gateway of this project answers: with its name, or with its problem for calls without a key."""
    try:
        document = json.loads(health.get(address, "/v2")[1])
    except ValueError:
        return False
    if not isinstance(document, dict):
        return False
    return document.get("name") == PROJECT or str(document.get("type")).startswith(PROBLEMS)


def disks(settings: Settings, environment: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """Check the space and the rights of the folders that the service writes."""
    cache = Path(environment.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = {
        "temporary folder": Path(tempfile.gettempdir()),
        "cache": cache,
        "model store folder": settings.model_store,
    }
    for name, folder in places.items():
        there = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
        free = shutil.disk_usage(there).free
        found = f"{folder}: {free >> 20} MiB free"
        if not os.access(there, os.W_OK | os.X_OK):
            yield warning(name, f"{found}, not writable", "make it writable, or name another folder")
        elif free < WANTED_DISK:
            yield warning(name, found, "free space: archives, compiled networks and logs need about 1 GiB")
        else:
            yield ok(name, found)
    shared = settings.shared_memory_dir
    wanted = settings.shared_memory_bytes
    free = shutil.disk_usage(shared).free if shared.is_dir() else 0
    if free < wanted:
        cure = "name a larger folder in RESNEST_SHARED_MEMORY_DIR, or lower RESNEST_SHARED_MEMORY_BYTES"
        yield warning("shared memory", f"{shared} has {free // MEBIBYTE} MiB of {wanted // MEBIBYTE}", cure)
    else:
        yield ok("shared memory", f"{shared}: {free // MEBIBYTE} MiB free")


def native_libraries() -> Iterator[Finding]:
    """Check that there is a folder from which Java may load libraries."""
    try:
        folder = Path(tempfile.gettempdir())
        elsewhere = host_checks.native_library_folder(folder)
    except CardError as error:
        yield problem("native libraries", str(error), "set TMPDIR to a folder that is not mounted with noexec")
        return
    yield ok("native libraries", f"in {elsewhere or folder}")
