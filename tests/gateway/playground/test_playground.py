"""The page at `/`, its files, and the icon: who gets them, and how long they may be kept."""

import re

import httpx
import pytest

from service.gateway.playground.page_files import read_page_files
from tests.gateway.conftest import Running

pytestmark = pytest.mark.anyio

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8"}


async def test_a_browser_gets_the_page(client: httpx.AsyncClient) -> None:
    response = await client.get("/", headers=BROWSER)

    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert response.headers["vary"] == "Accept"
    assert response.text.startswith("<!doctype html>")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "", "text/html;q=0.1,application/json"])
async def test_a_client_that_does_not_ask_for_html_gets_a_text(accept: str, client: httpx.AsyncClient) -> None:
    response = await client.get("/", headers={"Accept": accept})

    assert (response.status_code, response.headers["content-type"]) == (200, "text/plain; charset=utf-8")
    assert response.headers["vary"] == "Accept"
    assert "http://gateway/docs" in response.text


async def test_the_pages_policy_allows_only_files_of_this_service(client: httpx.AsyncClient) -> None:
    response = await client.get("/", headers=BROWSER)
    rules = dict(rule.strip().partition(" ")[::2] for rule in response.headers["content-security-policy"].split(";"))

    assert rules["default-src"] == rules["frame-ancestors"] == rules["base-uri"] == "'none'"
    assert rules["script-src"] == rules["style-src"] == rules["connect-src"] == "'self'"
    assert rules["img-src"] == "'self' blob:"


async def test_only_the_page_may_use_the_camera_of_its_site(client: httpx.AsyncClient) -> None:
    page, other = await client.get("/", headers=BROWSER), await client.get("/docs")

    assert "camera=(self)" in page.headers["permissions-policy"]
    assert "permissions-policy" not in other.headers


async def test_the_page_is_asked_for_again_and_its_files_are_kept_for_good(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    (script,) = re.findall(r'<script type="module" src="([^"]+)"', page.text)
    file = await client.get(f"/{script}")

    assert page.headers["cache-control"] == "no-cache"
    assert file.status_code == 200
    assert file.headers["content-type"] == "text/javascript; charset=utf-8"
    assert file.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert file.headers["x-content-type-options"] == "nosniff"


async def test_a_client_that_has_the_current_file_gets_304(client: httpx.AsyncClient) -> None:
    page = await client.get("/", headers=BROWSER)
    tag = page.headers["etag"]

    same = await client.get("/", headers={**BROWSER, "If-None-Match": f'"other", W/{tag}'})
    other = await client.get("/", headers={**BROWSER, "If-None-Match": '"other"'})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    assert other.status_code == 200


@pytest.mark.parametrize(
    "path",
    ["0000000000000000/js/main.js", "{version}/js/nothing.js", "{version}/index.html", "{version}/../page_files.py"],
)
async def test_nothing_else_is_given(path: str, client: httpx.AsyncClient) -> None:
    response = await client.get(f"/playground/{path.format(version=read_page_files().version)}")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")


@pytest.mark.parametrize("playground", [True, False])
async def test_every_site_has_an_icon(playground: bool, running: Running) -> None:  # noqa: FBT001 - a parameter
    async with running(playground=playground) as client:
        response = await client.get("/favicon.ico")

    assert (response.status_code, response.headers["content-type"]) == (200, "image/x-icon")
    assert response.headers["cache-control"] == "public, max-age=86400"


async def test_without_the_playground_home_leads_a_browser_to_the_api_reference(running: Running) -> None:
    async with running(playground=False) as client:
        home = await client.get("/", headers=BROWSER)
        file = await client.get(f"/playground/{read_page_files().version}/js/main.js")

    assert (home.status_code, home.headers["location"], home.headers["vary"]) == (307, "docs", "Accept")
    assert (file.status_code, file.json()["code"]) == (404, "route_not_found")


async def test_the_page_needs_no_key(running: Running) -> None:
    async with running(keys="web-app classify 0" + "0" * 63) as client:
        page, icon = await client.get("/", headers=BROWSER), await client.get("/favicon.ico")
        models = await client.get("/v1/models")

    assert (page.status_code, icon.status_code, models.status_code) == (200, 200, 401)
