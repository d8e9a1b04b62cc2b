"""Access to each route: keys, scopes, the admin port, and the count of callers."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from starlette.types import Receive, Scope, Send

from service.config.api_keys import Quota, digest, scopes
from service.gateway.access.authorization import ADMIN, OPEN, AccessMiddleware, all_rules, rule_of
from service.gateway.access.callers import Authenticator, Keyring
from service.gateway.access.rate_limit import RateLimiter
from service.gateway.access.token_bucket import LocalTokenBuckets
from service.gateway.app import ROUTERS, UNMATCHED
from service.gateway.metrics import Metrics
from service.gateway.playground.page_files import read_page_files
from service.gateway.playground.playground import pages_router
from service.gateway.routes.images import image_routes, router_of
from service.tasks.shapes import Problem
from tests.gateway.conftest import Running, app_of
from tests.gateway.fixtures.images import image_bytes
from tests.gateway.uploads.test_upload_limits import call as sent

pytestmark = pytest.mark.anyio

KEYS = "\n".join(f"{scope}-caller {scope} {digest(scope)}" for scope in scopes())
REQUESTS: dict[str, tuple[str, str]] = {
    "/v1/classify": ("POST", "/v1/classify"),
    "/v1/segment": ("POST", "/v1/segment"),
    "/v1/embed": ("POST", "/v1/embed"),
    "/v1/detect": ("POST", "/v1/detect"),
    "/v1/explain": ("POST", "/v1/explain"),
    "/v1/models": ("GET", "/v1/models"),
    "/v1/models/{name}": ("GET", "/v1/models/tiny-classifier"),
    "/v2/models/{name}": ("GET", "/v2/models/tiny-classifier"),
    "/v2/models/{name}/versions/{version}": ("GET", "/v2/models/tiny-classifier/versions/1.0"),
    "/v2/models/{name}/ready": ("GET", "/v2/models/tiny-classifier/ready"),
    "/v2/models/{name}/versions/{version}/ready": ("GET", "/v2/models/tiny-classifier/versions/1.0/ready"),
    "/v2/models/{name}/infer": ("POST", "/v2/models/tiny-classifier/infer"),
    "/v2/models/{name}/versions/{version}/infer": ("POST", "/v2/models/tiny-classifier/versions/1.0/infer"),
    "/v2/models/{name}/config": ("GET", "/v2/models/tiny-classifier/config"),
    "/v2/models/{name}/versions/{version}/config": ("GET", "/v2/models/tiny-classifier/versions/1.0/config"),
    "/v2/models/{name}/stats": ("GET", "/v2/models/tiny-classifier/stats"),
    "/v2/models/{name}/versions/{version}/stats": ("GET", "/v2/models/tiny-classifier/versions/1.0/stats"),
    "/v2/repository/index": ("POST", "/v2/repository/index"),
    "/metrics": ("GET", "/metrics"),
    "/problems/{code}": ("GET", "/problems/overloaded"),
    "/docs/{asset}": ("GET", "/docs/start.js"),
    "/playground/{version}/{name}": ("GET", f"/playground/{read_page_files().version}/js/main.js"),
}

FOR_OPERATORS = {
    "/metrics",
    "/v1/traffic",
    "/v2/models/stats",
    "/v2/models/{name}/stats",
    "/v2/models/{name}/versions/{version}/stats",
}


@pytest.fixture
def asking(running: Running) -> Any:
    """Return what starts a gateway that authenticates callers."""

    @asynccontextmanager
    async def run(**changes: Any) -> AsyncIterator[httpx.AsyncClient]:
        async with running(**{"keys": KEYS, **changes}) as client:
            yield client

    return run


async def call(client: httpx.AsyncClient, route: str, key: str | None = None, origin: str = "") -> httpx.Response:
    method, path = REQUESTS.get(route, ("GET", route))
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    content = image_bytes() if method == "POST" and route != "/v2/repository/index" else None
    return await client.request(method, origin + path, headers=headers, content=content)


def problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    document: dict[str, Any] = response.json()
    Problem.model_validate(document)
    assert (response.status_code, document["status"], document["code"]) == (status, status, code)
    assert response.headers["content-type"] == "application/problem+json"
    assert document["request_id"] == response.headers["x-request-id"]
    return document


def test_every_route_has_a_rule_and_every_rule_a_route() -> None:
    routers = (router_of(image_routes()), *ROUTERS, pages_router(has_playground=True))
    routes = {route.path_format for router in routers for route in router.routes}  # type: ignore[attr-defined]

    assert set(all_rules()) == routes


@pytest.mark.parametrize("name", ["api_key", "key"])
async def test_a_key_in_the_url_is_told_that_it_is_not_read(name: str, asking: Running) -> None:
    async with asking() as client:
        response = await client.get("/v1/models", params={name: "classify"})

    document = problem(response, 401, "unauthenticated")
    assert document["detail"].startswith("A key in the URL is not read")
    assert response.headers["www-authenticate"] == 'Bearer realm="resnest-service"'


# The scope for `infer` depends on the model: tests/gateway/routes/open_inference/test_v2.py.
@pytest.mark.parametrize("route", [route for route in all_rules() if not route.endswith("/infer")])
async def test_a_path_is_open_to_the_keys_of_its_scope_alone(route: str, asking: Running) -> None:
    rule = all_rules()[route]
    async with asking() as client:
        found = {key: (await call(client, route, key)).status_code for key in (None, "wrong", *scopes())}

    good = {key for key, status in found.items() if status in {200, 307}}
    everybody = {None, "wrong", *scopes()}
    assert good == (everybody if rule.is_open else set(scopes()) if rule.scope is None else {rule.scope})
    if not rule.is_open:
        assert found[None] == found["wrong"] == 401
        assert {found[scope] for scope in scopes() if scope not in good} <= {403}


async def test_a_path_that_is_not_there_is_a_404_to_everybody(asking: Running) -> None:
    async with asking() as client:
        problem(await client.get("/nowhere"), 404, "route_not_found")


async def test_a_caller_without_a_key_is_told_how_to_send_one(asking: Running) -> None:
    async with asking() as client:
        missing = await call(client, "/v1/classify")
        wrong = await call(client, "/v1/classify", "rsn_pr1vate")

    problem(missing, 401, "unauthenticated")
    assert missing.headers["www-authenticate"] == 'Bearer realm="resnest-service"'
    problem(wrong, 401, "unauthenticated")
    assert wrong.headers["www-authenticate"] == 'Bearer realm="resnest-service", error="invalid_token"'
    assert "pr1vate" not in wrong.text


async def test_a_caller_whose_key_does_not_open_a_path_is_told_the_scope(asking: Running) -> None:
    async with asking() as client:
        response = await call(client, "/v1/segment", "classify")

    assert problem(response, 403, "forbidden")["required_scope"] == "segment"
    assert 'error="insufficient_scope", scope="segment"' in response.headers["www-authenticate"]


async def test_a_caller_is_refused_before_its_body_is_read(asking: Running) -> None:
    async with asking() as client:
        chunk = {"type": "http.request", "body": b"x", "more_body": True}
        status, read = await sent(app_of(client), {"Transfer-Encoding": "chunked"}, chunk)

    assert (status, read) == (401, 0)


def test_a_route_that_no_rule_names_is_for_administrators() -> None:
    assert rule_of(all_rules(), "/v1/forgotten", UNMATCHED) == ADMIN
    assert rule_of(all_rules(), UNMATCHED, UNMATCHED) == OPEN


async def test_administrators_own_door_has_what_is_theirs_and_the_probes_and_asks_no_key_for_metrics(
    asking: Running,
) -> None:
    async with asking(admin_port=9000) as client:
        inside = {
            route: (await call(client, route, origin="http://gateway:9000")).status_code
            for route in (*all_rules(), "/nowhere")
        }

    assert {route for route, status in inside.items() if status == 200} == {*FOR_OPERATORS, "/livez", "/readyz"}
    assert set(inside.values()) == {200, 404}


async def test_the_public_door_beside_it_has_all_but_what_is_theirs(asking: Running) -> None:
    async with asking(admin_port=9000) as client:
        outside = {
            route: (await call(client, route, "admin", origin="http://gateway:8000")).status_code
            for route in all_rules()
        }
        response = await call(client, "/metrics", "admin")

    assert {route for route, status in outside.items() if status == 404} == FOR_OPERATORS
    problem(response, 404, "route_not_found")


def test_a_route_that_no_rule_names_still_needs_a_key_inside() -> None:
    forgotten = rule_of(all_rules(), "/v1/forgotten", UNMATCHED)

    assert forgotten.on_port(admin=True) == ADMIN
    assert forgotten.on_port(admin=False) is None


async def test_callers_are_counted_by_name_and_outcome_and_never_by_key(asking: Running) -> None:
    async with asking() as client:
        for key in (None, "rsn_pr1vate-1", "rsn_pr1vate-2", "classify", "segment"):
            await call(client, "/v1/classify", key)
        text = (await call(client, "/metrics", "admin")).text

    rows = {line for line in text.splitlines() if line.startswith("resnest_caller_requests_total{")}
    assert rows == {
        'resnest_caller_requests_total{caller="unknown",outcome="unauthenticated"} 3.0',
        'resnest_caller_requests_total{caller="classify-caller",outcome="admitted"} 1.0',
        'resnest_caller_requests_total{caller="segment-caller",outcome="forbidden"} 1.0',
        'resnest_caller_requests_total{caller="admin-caller",outcome="admitted"} 1.0',
    }
    assert "pr1vate" not in text
    assert digest("classify")[:8] not in text


@pytest.mark.parametrize(("keys", "expected"), [(KEYS, "classify-caller"), ("", "192.0.2.7")])
async def test_the_request_knows_the_name_of_its_key_or_its_address_where_nobody_is_asked(
    keys: str, expected: str
) -> None:
    seen: list[str] = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["state"]["caller"])

    async def unused(*_: Any) -> Any:
        raise AssertionError

    access = AccessMiddleware(
        app,
        authenticator=Authenticator(Keyring(keys, None, int) if keys else None),
        rate_limiter=RateLimiter(LocalTokenBuckets(), Quota(), 32),
        proxies=(),
        metrics=Metrics(),
        unmatched=UNMATCHED,
    )
    scope = {
        "type": "http",
        "client": ("192.0.2.7", 4711),
        "headers": [(b"x-api-key", b"classify")],
        "state": {"route": "/v1/classify", "request_id": "r"},
    }
    await access(scope, unused, unused)

    assert seen == [expected]
