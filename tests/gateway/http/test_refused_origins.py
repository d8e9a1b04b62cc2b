"""Pages of other origins are named in the log, with the setting that allows them."""

import logging

import httpx
import pytest

from service.gateway.http.refused_origins import MAX_TOLD
from tests.gateway.conftest import Running

pytestmark = pytest.mark.anyio

APP = "https://app.example"


async def asked(client: httpx.AsyncClient, *origins: str, **headers: str) -> None:
    for origin in origins:
        await client.get("/v1/models", headers={"Origin": origin, **headers})


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return the log lines about refused pages."""
    return [each.getMessage() for each in caplog.records if each.name.endswith("refused_origins")]


async def test_a_refused_page_is_logged_once_with_the_setting_that_allows_it(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as client:
        await asked(client, APP, APP)

    (line,) = told(caplog)
    assert line.endswith(f"RESNEST_CORS_ORIGINS={APP}")
    assert [each.levelno for each in caplog.records if line == each.getMessage()] == [logging.WARNING]


async def test_the_setting_keeps_the_pages_that_are_allowed(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with running(cors_origins=APP) as client:
        await asked(client, APP, "http://localhost:3000")

    (line,) = told(caplog)
    assert line.endswith(f"RESNEST_CORS_ORIGINS={APP},http://localhost:3000")


async def test_a_page_that_was_opened_as_a_file_is_told_to_be_served(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    async with running() as client:
        await asked(client, "null")

    assert "opened as a file" in told(caplog)[0]


async def test_the_services_own_pages_are_not_refused(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as client:
        await asked(client, str(client.base_url).rstrip("/"))
        await asked(client, APP, Host="app.example")
        await asked(client, APP, **{"X-Forwarded-Host": "app.example"})
        await asked(client, APP, **{"Sec-Fetch-Site": "same-origin"})
    async with running(cors_origins="*") as client:
        await asked(client, APP)

    assert told(caplog) == []


async def test_no_caller_can_fill_the_log(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    async with running() as client:
        await asked(client, "https://a b", "https://a.example/%0aline", "javascript:1", "")
        assert told(caplog) == []
        await asked(client, *(f"https://{number}.example" for number in range(3 * MAX_TOLD)))

    assert len(told(caplog)) == MAX_TOLD
