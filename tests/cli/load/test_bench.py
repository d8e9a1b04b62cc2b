"""Tests of the command `bench`."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from service.cli.main import main
from service.host.processes import free_port
from tests.measure.load.serving import Answer, Server
from tests.measure.load.threads import served

BRIEF = ("--duration", "0.3", "--warm-up", "0.1", "--size", "64x48")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, ["bench", *(str(each) for each in arguments)])


@pytest.fixture
def server() -> Iterator[Server]:
    """Run a server in a thread. It answers every eighth request with 503."""
    full = Answer(status=503, body=b'{"code": "overloaded"}')
    timed = Answer(0.004, headers=("Server-Timing: decode;dur=1.5, inference;dur=2",))
    with served(Server(lambda number: full if number % 8 == 7 else timed)) as made:
        yield made


def test_a_measurement_is_tables_a_document_and_a_page(server: Server, tmp_path: Path) -> None:
    document, page = tmp_path / "found.json", tmp_path / "found.html"
    result = call(server.url, *BRIEF, "--concurrency", "1,2", "--json", document, "--plot", page)
    assert result.exit_code == 0, result.output
    for expected in ("LOAD", "1 at a time", "2 at a time", "503 overloaded", "P50 / P99 OF", "INFERENCE"):
        assert expected in result.stdout
    written = json.loads(document.read_text(encoding="utf-8"))
    assert [each["load"]["amount"] for each in written["trials"]] == [1, 2]
    assert written["target"] == f"{server.url}/v1/classify"
    assert page.read_text(encoding="utf-8").count("<svg ") == 2


def test_a_segmenter_is_measured_by_the_same_command(server: Server) -> None:
    result = call(
        server.url, *BRIEF, "--task", "segment", "--model", "starter", "--rate", "40", "--arrivals", "constant"
    )
    assert result.exit_code == 0, result.output
    assert "40 req/s constant" in result.stdout
    assert server.requests[0][0].startswith(b"POST /v1/segment?model=starter HTTP/1.1\r\n")


def test_a_service_that_is_not_there_is_one_sentence() -> None:
    result = call(f"http://127.0.0.1:{free_port()}", *BRIEF)
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: 127.0.0.1 port ")
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("option", "value"),
    [("--concurrency", "0"), ("--rate", "fast"), ("--size", "5"), ("--size", "9999x9999"), ("--header", "no colon")],
)
def test_an_option_that_makes_no_sense_is_told(option: str, value: str) -> None:
    result = call(option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}'" in result.stderr


def test_the_limit_of_a_model_needs_no_service(store: Path, tmp_path: Path) -> None:
    document = tmp_path / "limit.json"
    result = call("--limit", "tiny-classifier", "--store", store, *BRIEF, "--json", document)
    assert result.exit_code == 0, result.output
    assert "tiny-classifier without HTTP: " in result.stdout
    assert "a single image, both: p50 " in result.stdout
    assert json.loads(document.read_text(encoding="utf-8"))["limit"]["batch_size"] == 8


def test_a_model_that_is_not_in_the_store_is_told(store: Path) -> None:
    result = call("--limit", "nothing", "--store", store, *BRIEF)
    assert result.exit_code == 1
    assert "no model is named nothing" in result.stderr
