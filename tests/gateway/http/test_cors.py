"""Which web pages may call the service from a browser, and with which headers."""

import httpx
import pytest

from service.config.api_keys import digest
from service.gateway.http.cors import ALLOWED_HEADERS, EXPOSED_HEADERS
from tests.gateway.conftest import Running
from tests.gateway.fixtures.images import image_bytes

pytestmark = pytest.mark.anyio

APP = "https://app.example"
OTHER = "https://other.example"
KEYS = f"web classify {digest('web')}"


async def preflight(client: httpx.AsyncClient, origin: str, method: str = "POST", headers: str = "") -> httpx.Response:
    """Return the response to a preflight request."""
    sent = {"Origin": origin, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
    return await client.options("/v1/classify", headers=sent)


async def test_a_listed_site_may_send_what_we_act_on_and_nobody_asks_it_for_a_key_first(running: Running) -> None:
    async with running(cors_origins=APP, keys=KEYS) as client:
        response = await preflight(client, APP, headers=", ".join(ALLOWED_HEADERS).lower())

    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == APP
    assert "POST" in response.headers["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in response.headers["access-control-allow-headers"].split(",")}
    assert {name.lower() for name in ALLOWED_HEADERS} <= allowed
    assert "Origin" in response.headers["vary"]


@pytest.mark.parametrize(
    "origin", [OTHER, "https://app.example.evil", "http://app.example", "https://app.example:8443", "null", ""]
)
async def test_a_site_that_is_not_listed_gets_no_permission(origin: str, running: Running) -> None:
    async with running(cors_origins=APP) as client:
        before = await preflight(client, origin)
        answer = await client.post("/v1/classify", content=image_bytes(), headers={"Origin": origin})

    assert not [name for each in (before, answer) for name in each.headers if name == "access-control-allow-origin"]
    assert (before.status_code, before.content) == (204, b"")
    assert answer.status_code == 200, "clients other than browsers may send any Origin"


async def test_a_page_may_send_and_read_binary_tensors(running: Running) -> None:
    header = "Inference-Header-Content-Length"
    async with running(cors_origins=APP) as client:
        before = await preflight(client, APP, headers=header.lower())
        answer = await client.get("/v2", headers={"Origin": APP})

    assert header in before.headers["access-control-allow-headers"]
    assert header in answer.headers["access-control-expose-headers"]


async def test_what_we_do_not_act_on_is_not_permitted(running: Running) -> None:
    async with running(cors_origins=APP) as client:
        method = await preflight(client, APP, method="DELETE")
        header = await preflight(client, APP, headers="x-evil")

    assert "DELETE" not in method.headers["access-control-allow-methods"]
    assert "x-evil" not in header.headers["access-control-allow-headers"].lower()
    assert method.status_code == header.status_code == 204


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("POST", "/v1/classify", {"X-API-Key": "web"}, 200),
        ("POST", "/v1/classify", {}, 401),
        ("POST", "/v1/segment", {"X-API-Key": "web"}, 403),
        ("GET", "/v1/classify", {"X-API-Key": "web"}, 405),
        ("GET", "/nowhere", {}, 404),
    ],
)
async def test_a_page_may_read_answers_and_refusals(
    method: str, path: str, headers: dict[str, str], status: int, running: Running
) -> None:
    async with running(cors_origins=f"{APP},{OTHER}", keys=KEYS) as client:
        content = image_bytes() if method == "POST" else None
        response = await client.request(method, path, content=content, headers={"Origin": OTHER, **headers})

    assert response.status_code == status
    assert response.headers["access-control-allow-origin"] == OTHER
    assert {name.strip() for name in response.headers["access-control-expose-headers"].split(",")} == set(
        EXPOSED_HEADERS
    )
    assert "access-control-allow-credentials" not in response.headers


async def test_every_site_may_be_let_in_and_never_with_cookies(running: Running) -> None:
    async with running(cors_origins="*") as client:
        before = await preflight(client, OTHER)
        answer = await client.get("/v1/models", headers={"Origin": OTHER, "Cookie": "a=b"})

    for response in (before, answer):
        assert "access-control-allow-credentials" not in response.headers
    assert before.headers["access-control-allow-origin"] == "*"


async def test_where_no_site_is_listed_a_page_gets_no_permission(client: httpx.AsyncClient) -> None:
    response = await preflight(client, APP)

    assert response.status_code == 405
    assert not [name for name in response.headers if name.startswith("access-control")]
