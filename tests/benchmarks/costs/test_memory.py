"""Tests of the memory report, with a process that is started here."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.costs import memory
from service.host.processes import free_port
from tests.stores import write_store

# Holds 100 MB for a moment, then listens until its input ends.
PROGRAM = """
import socket, sys
held = bytearray(b"1") * (100 << 20)
del held
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("up", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Start a process with a model folder in PYTHONPATH, like a worker, and return its port."""
    model = write_store(tmp_path, "tiny-classifier", weights=False) / "tiny-classifier"
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{model}"}
    chosen = free_port()
    program = tmp_path / "serving.py"
    program.write_text(PROGRAM, encoding="utf-8")
    command = [sys.executable, str(program), str(chosen)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"up\n"
        yield chosen
        process.stdin.close()
        process.wait(30)


def test_a_process_is_told_with_its_model_and_what_it_holds_and_has_held(port: int) -> None:
    result = CliRunner().invoke(memory.main, [f"http://127.0.0.1:{port}", "--json"])
    (row,) = json.loads(result.stdout)
    assert row["model"] == "tiny-classifier"
    assert row["peak_mb"] - row["resident_mb"] > 90
    assert 0 < row["own_mb"] <= row["resident_mb"]


def test_the_table_has_a_line_for_each_process(port: int) -> None:
    head, line = CliRunner().invoke(memory.main, [f"http://127.0.0.1:{port}"]).stdout.splitlines()
    assert head.split("  ")[0] == "PROCESS"
    assert line.split()[:2] == ["serving.py", "tiny-classifier"]


@pytest.mark.parametrize(
    ("url", "message"), [("ftp://here", "is not an http"), ("http://127.0.0.1:9", "no service listens")]
)
def test_where_nothing_can_be_seen_that_is_told(url: str, message: str) -> None:
    result = CliRunner().invoke(memory.main, [url])
    assert result.exit_code != 0
    assert message in result.stderr
