"""The API reference in a browser: it loads nothing from other sites, and its policy forbids that."""

import asyncio
import re
import shutil
from asyncio.subprocess import PIPE
from pathlib import Path

import httpx
import pytest

from service.gateway.routes.openapi import descriptions
from service.gateway.routes.swagger import ASSETS
from tests.gateway.conftest import Running

pytestmark = pytest.mark.anyio


async def test_all_that_the_page_names_is_ours_and_is_there(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    found = {name: await client.get(f"/{name}") for name in named}

    assert len(named) == 4
    assert {name: response.status_code for name, response in found.items()} == dict.fromkeys(named, 200)
    types = {name: response.headers["content-type"].partition(";")[0] for name, response in found.items()}
    assert types == {"docs/start.js": "text/javascript", **{f"docs/{name}": kind for name, kind in ASSETS.items()}}
    assert all("max-age" in response.headers["cache-control"] for response in found.values())


async def test_the_pages_policy_allows_no_script_but_our_files(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    rules = dict(rule.strip().partition(" ")[::2] for rule in page.headers["content-security-policy"].split(";"))

    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == rules["connect-src"] == "'self'"
    assert re.findall(r"<script(?! src)|\son\w+=|style=", page.text) == []


@pytest.mark.parametrize("name", ["nothing.js", "__init__.py", "..%2f__init__.py", "%2e%2e%2fmain.py"])
async def test_nothing_else_of_the_package_is_given(name: str, client: httpx.AsyncClient) -> None:
    response = await client.get(f"/docs/{name}")

    assert (response.status_code, response.json()["code"]) == (404, "route_not_found")


async def rendered(address: str, folder: Path) -> tuple[str, str]:
    """The page as a browser without a network renders it, and the browser's log."""
    browser = shutil.which("chromium")
    if browser is None:
        pytest.skip("chromium is not installed (Debian's package of that name)")
    command = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    command += [f"--user-data-dir={folder}", "--enable-logging=stderr", "--log-level=0", "--disable-extensions"]
    command += ["--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1", "--no-first-run"]
    command += ["--virtual-time-budget=30000", "--timeout=120000", "--dump-dom", address]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE, stderr=PIPE)
    try:
        async with asyncio.timeout(240):
            page, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return page.decode(), log.decode(errors="replace")


async def test_a_browser_without_the_internet_shows_every_operation_and_breaks_no_policy(
    listening: Running, tmp_path: Path
) -> None:
    async with listening() as client:
        page, log = await rendered(f"{client.base_url}/docs", tmp_path)

    shown = {(path, method) for method, path in re.findall(r'opblock-(get|post)".*?data-path="([^"]+)"', page)}
    assert shown == set(descriptions())
    complaints = [line for line in log.splitlines() if "CONSOLE" in line]
    assert not complaints, complaints
