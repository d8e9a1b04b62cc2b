"""Checks of the host, with the facts of other hosts."""

import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterable
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from service.cli.doctor import host_findings
from service.cli.doctor.finding import Finding
from service.config import api_keys
from service.config.settings import Settings
from service.host import health
from service.host.processes import free_port
from tests.e2e.running import until


def only(found: Iterable[Finding]) -> Finding:
    (one,) = found
    return one


def test_this_host_runs_the_tests_so_its_basics_are_right() -> None:
    found = [*host_findings.python(), *host_findings.system(), *host_findings.java(), *host_findings.native_libraries()]

    assert [each.state for each in found] == ["ok"] * 4


def test_an_old_python_and_another_system_are_problems() -> None:
    assert only(host_findings.python((3, 10, 1))).state == "problem"
    assert only(host_findings.system("darwin")).state == "problem"
    assert only(host_findings.system("linux", "aarch64")).state == "warning"


def test_a_java_that_is_of_no_use_is_named(tmp_path: Path) -> None:
    found = only(host_findings.java({"JAVA_HOME": str(tmp_path)}))

    assert found.state == "warning"
    assert "where there is none" in found.found


def test_a_java_that_does_not_start_is_a_problem(tmp_path: Path) -> None:
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.write_text("#!/bin/sh\necho no >&2; exit 1\n", encoding="utf-8")
    java.chmod(0o755)

    assert only(host_findings.java({"JAVA_HOME": str(tmp_path)})).state == "problem"


def test_the_processors_features_are_listed_and_their_absence_is_a_warning(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("model name\t: Fast\nflags\t\t: fpu avx2 amx_bf16\n", encoding="ascii")
    assert only(host_findings.processor(cpuinfo)).found.endswith("avx2, amx_bf16")

    cpuinfo.write_text("model name\t: Old\nflags\t\t: fpu sse\n", encoding="ascii")
    assert only(host_findings.processor(cpuinfo)).state == "warning"


@pytest.mark.parametrize(
    ("available", "limit", "state"), [(8, "max", "ok"), (1, "max", "warning"), (8, "1", "warning")]
)
def test_little_memory_is_a_warning(available: int, limit: str, state: str, tmp_path: Path) -> None:
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {available << 20} kB\n", encoding="ascii")
    (tmp_path / "max").write_text(limit if limit == "max" else str(int(limit) << 30), encoding="ascii")

    assert only(host_findings.memory(tmp_path / "meminfo", tmp_path / "max")).state == state


def test_a_port_that_is_taken_is_named() -> None:
    free = Settings(port=free_port())
    assert only(host_findings.port(free)).state == "ok"

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        found = only(host_findings.port(Settings(port=listener.getsockname()[1])))
    assert found.state == "problem"
    assert "RESNEST_PORT" in found.cure


@pytest.mark.parametrize("keys", [{}, {"RESNEST_KEYS": api_keys.Key("a", frozenset({"classify"}), "0" * 64).line()}])
def test_a_running_service_of_this_project_is_named_and_is_no_problem(keys: dict[str, str], store: Path) -> None:
    settings = Settings(model_store=store, port=free_port())
    variables = {"RESNEST_MODEL_STORE": str(store), "RESNEST_PORT": str(settings.port), **keys}
    gateway = subprocess.Popen([sys.executable, "-m", "service", "gateway"], env={**os.environ, **variables})
    address = f"http://127.0.0.1:{settings.port}"
    try:
        until(lambda: health.get(address, "/livez")[0] == 200, 30)
        found = only(host_findings.port(settings))
    finally:
        gateway.terminate()
        gateway.wait(30)

    assert (found.state, f"a resnest-service answers at {address}" in found.found) == ("ok", True)


def test_another_server_on_the_port_is_a_warning() -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), SimpleHTTPRequestHandler) as server:
        threading.Thread(target=server.serve_forever).start()
        found = only(host_findings.port(Settings(port=server.server_port)))
        server.shutdown()

    assert (found.state, "another server answers" in found.found) == ("warning", True)


def test_folders_are_checked_and_a_shared_memory_that_is_too_small_is_a_warning(tmp_path: Path) -> None:
    settings = Settings(model_store=tmp_path, shared_memory_dir=tmp_path / "none")

    found = {each.check: each for each in host_findings.disks(settings, {"XDG_CACHE_HOME": str(tmp_path / "cache")})}

    assert found["model store folder"].state == "ok"
    assert str(tmp_path / "cache") in found["cache"].found
    assert found["shared memory"].state == "warning"


def test_the_limit_of_open_files_is_shown() -> None:
    assert only(host_findings.open_files()).check == "open files"
