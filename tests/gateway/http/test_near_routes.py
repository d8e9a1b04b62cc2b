"""The route that is named at an unknown path."""

import time

import pytest

from service.gateway.app import near_routes_of
from service.gateway.http.near_routes import NOTHING_HERE
from service.gateway.routes.images import image_routes

ROUTES = near_routes_of(image_routes())
MEANT = {
    "/classify": "POST /v1/classify",
    "/v1/classify/": "POST /v1/classify",
    "//v1//classify": "POST /v1/classify",
    "/v3/classification": "POST /v1/classify",
    "/api/v1/segment": "POST /v1/segment",
    "/v1/segmentation": "POST /v1/segment",
    "/v1/embeddings": "POST /v1/embed",
    "/detections": "POST /v1/detect",
    "/v1/model": "GET /v1/models",
    "/models": "GET /v1/models",
    "/v1/model/starter-classifier": "GET /v1/models/{name}",
    "/v2/model/starter-classifier/infer": "POST /v2/models/{name}/infer",
    "/v2/models/starter-classifier/inferr": "POST /v2/models/{name}/infer",
    "/ready": "GET /readyz",
    "/health/live": "GET /v2/health/live",
    "/doc": "GET /docs",
    "/openapi": "GET /openapi.json",
    "/openapi.yaml": "GET /openapi.json",
}


@pytest.mark.parametrize("path", MEANT)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_most_similar_route_is_named_with_its_method(method: str, path: str) -> None:
    assert ROUTES.explain(method, path) == f"{NOTHING_HERE} Did you mean {MEANT[path]}?"


@pytest.mark.parametrize("path", ["/predict", "/v1/predict", "/infer", "/invocations", "/v1", "/v1/", "/api/upload"])
def test_a_post_to_a_path_like_no_other_gets_the_routes_that_take_images(path: str) -> None:
    explained = ROUTES.explain("POST", path)

    assert "Did you mean" not in explained
    assert all(route.endpoint.path in explained for route in image_routes())


@pytest.mark.parametrize("path", ["/wp-login.php", "/v1", "/.env", "/zzzz/starter-classifier"])
def test_another_path_like_no_other_gets_the_api_reference(path: str) -> None:
    assert ROUTES.explain("GET", path) == f"{NOTHING_HERE} See /docs."


@pytest.mark.parametrize("path", ["/metric", "/v1/trafic"])
def test_no_route_of_operators_is_named(path: str) -> None:
    assert "/metrics" not in ROUTES.explain("GET", path)
    assert "/v1/traffic" not in ROUTES.explain("GET", path)


def test_a_long_path_costs_no_more_than_a_short_one() -> None:
    def seconds(path: str) -> float:
        started = time.thread_time()
        for _ in range(20):
            ROUTES.explain("GET", path)
        return time.thread_time() - started

    assert min(seconds("/a" * 100_000) for _ in range(5)) < 10 * min(seconds("/classify" * 7) for _ in range(5))
