"""The pages that explain problems."""

import re
from typing import Any

import httpx
import pytest

from service.errors import every_error
from service.gateway.routes.problem_pages import manual
from tests.laws.sources import ROOT

pytestmark = pytest.mark.anyio


async def test_problems_lists_every_problem(client: httpx.AsyncClient) -> None:
    page = (await client.get("/problems")).text

    assert [error.code() for error in every_error() if f"'problems/{error.code()}'" not in page] == []


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
async def test_a_problems_type_leads_to_a_page_that_says_what_to_do(error: Any, client: httpx.AsyncClient) -> None:
    made = error("x").problem()

    response = await client.get(made["type"])

    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/html")
    assert "<meta name=viewport content='width=device-width'>" in response.text  # a phone would show it small
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert error.title.replace("'", "&#x27;") in response.text
    assert "`" not in response.text


def test_what_stands_in_angle_brackets_is_code_and_so_not_taken_for_a_tag() -> None:
    assert [line for line in manual().splitlines() if "<" in re.sub("`[^`]*`", "", line)] == []
    assert any("<" in error.cure for error in every_error())


async def test_a_problems_page_leads_back_to_the_list_and_to_the_api(client: httpx.AsyncClient) -> None:
    page = await client.get("/problems/overloaded")
    links = re.findall(r"href='([^']+)'", page.text)

    assert [str(page.url.join(link).path) for link in links] == ["/problems", "/docs"]
    assert [(await client.get(page.url.join(link))).status_code for link in links] == [200, 200]


async def test_the_list_leads_to_the_api_and_to_the_page_to_try(client: httpx.AsyncClient) -> None:
    page = await client.get("/problems")
    links = re.findall(r"href='([^'/]+|\./)'", page.text)

    assert [str(page.url.join(link).path) for link in links] == ["/docs", "/"]


def test_the_manual_is_written_from_the_errors() -> None:
    written = (ROOT / "docs/problems.md").read_text(encoding="utf-8")

    assert written == manual(), "run `make problems`"


@pytest.mark.parametrize("error", every_error(), ids=lambda error: error.code())
def test_the_manual_tells_of_every_problem_its_status_cause_and_cure(error: Any) -> None:
    section = manual().split(f"\n## {error.code()}\n")[1].split("\n## ")[0]

    assert f"{error.status}: {error.title}." in section
    assert re.search(r"\*\*Cause\.\*\* \w.+\.\n", section)
    assert re.search(r"\*\*Cure\.\*\* \w.+\.\n", section)
    assert ("Retry-After" in section) == (error.status in {429, 503})


async def test_a_page_of_no_problem_is_not_found(client: httpx.AsyncClient) -> None:
    response = await client.get("/problems/nonsense")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")
