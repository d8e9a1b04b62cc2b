"""The access log: which requests it has, what of them, and how repeated failures are summed."""

import logging
import time
from typing import Any

import pytest

from service.gateway.http.access_log import GATHERED, LINES, WINDOW_S, AccessLog, trace_id_of
from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

TRACE = "0af7651916cd43dd8448eb211c80319c"


PLAIN = logging.makeLogRecord({})


def fields(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if not hasattr(PLAIN, name)}


@pytest.fixture(autouse=True)
def every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "service.gateway.http.access_log")


def failure(number: int, **more: Any) -> dict[str, Any]:
    return {
        "request_id": f"r{number}",
        "route": "/v1/classify",
        "method": "POST",
        "status": 503,
        "code": "overloaded",
    } | more


async def test_the_line_of_a_request_is_found_by_its_id_and_has_what_happened(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    image = image_bytes()
    headers = {"X-Request-ID": "find-me", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    async with running(access_log="all") as client:
        await client.post("/v1/classify?top_k=1", content=image, headers=headers)
    (line,) = [each for each in map(fields, caplog.records) if each.get("request_id") == "find-me"]

    times = {name for name in line if name.endswith("_ms")}
    assert times == {"upload_ms", "decode_ms", "queue_ms", "inference_ms", "total_ms"}
    assert line["pixels"] > 0
    assert {name: line[name] for name in line.keys() - times - {"pixels", "message"}} == {
        "request_id": "find-me",
        "trace_id": TRACE,
        "route": "/v1/classify",
        "method": "POST",
        "status": 200,
        "caller": "anonymous",
        "model": "tiny-classifier",
        "version": line["version"],
        "bytes": len(image),
        "images": 1,
    }


async def test_a_failed_request_is_found_by_its_id_without_any_setting(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as client:
        await client.post("/v1/classify", content=b"secret upload", headers={"X-Request-ID": "find-me-415"})
        await client.post("/v1/classify", content=image_bytes(), headers={"X-Request-ID": "not-me"})
        await client.get("/nowhere?key=secret", headers={"X-Request-ID": "find-me-404"})
    found = {line["request_id"]: line for line in map(fields, caplog.records) if "request_id" in line}

    assert found.keys() == {"find-me-415", "find-me-404"}
    assert found["find-me-404"]["code"] == "route_not_found"
    assert found["find-me-415"]["status"] in {415, 422}
    assert "secret" not in str(found)


async def test_probes_are_not_in_it(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with running(access_log="all") as client:
        for path in ("/livez", "/readyz", "/metrics"):
            await client.get(path)

    assert caplog.messages.count("request") == 0


def test_off_logs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert not AccessLog("off").wants("/v1/classify", 500)
    assert not AccessLog("errors").wants("/v1/classify", 200)
    assert AccessLog("errors").wants("/v1/classify", 499)
    assert AccessLog("all").wants("/v1/classify", 200)
    assert caplog.messages == []


def test_repeated_failures_are_summed_with_the_last_id(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    access_log = AccessLog("errors", lambda: now)
    for number in range(1023):
        access_log.record(failure(number))
    assert caplog.messages == ["request"] * LINES
    access_log.flush()
    now = WINDOW_S
    access_log.flush()
    access_log.flush()

    assert caplog.messages[LINES:] == [f"{1023 - LINES} more requests failed alike"]
    found = fields(caplog.records[-1])
    assert (found["code"], found["count"], found["last_request_id"]) == ("overloaded", 1013, "r1022")


def test_other_failures_have_lines_of_their_own(caplog: pytest.LogCaptureFixture) -> None:
    access_log = AccessLog("errors", lambda: 0.0)
    for number in range(LINES + 5):
        access_log.record(failure(number))
    access_log.record(failure(0, code="internal", status=500))
    access_log.record(failure(0, caller="other"))

    assert caplog.messages == ["request"] * (LINES + 2)


def test_a_server_error_is_a_warning_and_a_callers_mistake_is_not(caplog: pytest.LogCaptureFixture) -> None:
    access_log = AccessLog("errors", lambda: 0.0)
    access_log.record(failure(0))
    access_log.record(failure(0, status=422, code="invalid_image"))

    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


def test_lines_of_successes_are_written_together_in_their_order_with_the_times_of_their_requests(
    caplog: pytest.LogCaptureFixture,
) -> None:
    access_log = AccessLog("all", lambda: 0.0)
    before = time.time()
    for number in range(3):
        access_log.record(failure(number, status=200))
    assert caplog.messages == []
    ended = time.time()
    access_log.flush()

    assert [fields(each)["request_id"] for each in caplog.records] == ["r0", "r1", "r2"]
    assert before <= caplog.records[0].created <= caplog.records[2].created <= ended
    assert caplog.records[0].msecs == pytest.approx(caplog.records[0].created % 1 * 1000)


def test_a_failure_is_written_at_once_after_the_successes_before_it(caplog: pytest.LogCaptureFixture) -> None:
    access_log = AccessLog("all", lambda: 0.0)
    access_log.record(failure(0, status=200))
    access_log.record(failure(1))
    access_log.record(failure(2, status=200))

    assert [fields(each)["request_id"] for each in caplog.records] == ["r0", "r1"]


def test_a_flood_of_successes_is_not_held_back(caplog: pytest.LogCaptureFixture) -> None:
    access_log = AccessLog("all", lambda: 0.0)
    for number in range(GATHERED + 1):
        access_log.record(failure(number, status=200))

    assert len(caplog.records) == GATHERED


@pytest.mark.parametrize("given", [b"", b"00-x-y-01", f"00-{TRACE.upper()}-b7ad6b7169203331-01".encode()])
def test_an_invalid_traceparent_has_no_trace_id(given: bytes) -> None:
    assert trace_id_of([(b"traceparent", given)]) is None
