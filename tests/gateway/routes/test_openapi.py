"""The OpenAPI description: complete and valid, with every problem."""

import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from service.config.api_keys import digest
from service.config.settings import Settings
from service.errors import every_error
from service.gateway.app import create_app
from service.gateway.routes.openapi import descriptions
from tests.gateway.conftest import Running

PUBLIC = {
    ("/v1/classify", "post"),
    ("/v1/segment", "post"),
    ("/v1/embed", "post"),
    ("/v1/explain", "post"),
    ("/v1/detect", "post"),
    ("/v1/models", "get"),
    ("/v1/models/{name}", "get"),
    ("/v1/traffic", "get"),
    ("/v2", "get"),
    ("/v2/health/live", "get"),
    ("/v2/health/ready", "get"),
    ("/v2/models/{name}", "get"),
    ("/v2/models/{name}/ready", "get"),
    ("/v2/models/{name}/infer", "post"),
    ("/livez", "get"),
    ("/readyz", "get"),
    ("/metrics", "get"),
}

# After which generators name their functions. A change breaks the programs of callers.
IDS = {
    "classify", "segment", "embed", "explain", "detect", "list_models", "get_model", "get_traffic", "livez", "readyz",
    "metrics", "v2_server", "v2_live", "v2_ready", "v2_model", "v2_model_ready", "v2_infer",
}  # fmt: skip

# Problems that belong to no route.
ANYWHERE = {"route_not_found", "method_not_allowed", "malformed_request", "length_required", "headers_too_large"}


@pytest.fixture(scope="module")
def document(store: Path) -> dict[str, Any]:
    described: dict[str, Any] = create_app(Settings(model_store=store)).openapi()
    return described


def every(node: Any, key: str) -> Iterator[Any]:
    """Every value of that key, at any depth."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from every(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from every(value, key)


def validator(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    import jsonschema  # type: ignore[import-untyped]  # noqa: PLC0415 - takes 1.4 s, in every process of the tests

    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def test_the_public_routes_are_described_and_no_others(document: dict[str, Any]) -> None:
    described = {(path, method) for path, methods in document["paths"].items() for method in methods}

    assert document["openapi"].startswith("3.1")
    assert (document["security"], document["info"]["license"]["identifier"]) == ([], "Apache-2.0")
    assert described == PUBLIC == set(descriptions())


def test_every_operation_has_an_id_of_its_own_a_summary_and_a_description(document: dict[str, Any]) -> None:
    operations = [operation for methods in document["paths"].values() for operation in methods.values()]

    ids = [operation["operationId"] for operation in operations]
    assert sorted(ids) == sorted(IDS)
    assert all(operation["summary"] and operation["description"] for operation in operations)


def test_every_schema_is_valid_and_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    for schema in schemas.values():
        validator(document, schema).check_schema(schema)
    for reference in every(document, "$ref"):
        prefix, _, name = reference.rpartition("/")
        assert prefix == "#/components/schemas"
        assert name in schemas


@pytest.mark.parametrize(("path", "method"), sorted(PUBLIC))
def test_every_example_fits_its_schema(path: str, method: str, document: dict[str, Any]) -> None:
    operation = document["paths"][path][method]
    bodies = [operation.get("requestBody", {}), *operation["responses"].values()]
    contents = [content for body in bodies for content in body.get("content", {}).values()]

    checked = 0
    for content in contents:
        shown = [each["value"] for each in content.get("examples", {}).values()]
        for example in [*shown, *([content["example"]] if "example" in content else [])]:
            validator(document, content["schema"]).validate(example)
            checked += 1

    assert checked >= len(operation["responses"]) - (path == "/metrics")


def test_every_problem_is_documented_with_its_status(document: dict[str, Any]) -> None:
    documented: dict[str, set[int]] = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                examples = response["content"].get("application/problem+json", {}).get("examples", {})
                for code in examples:
                    documented.setdefault(code, set()).add(int(status))

    expected = {error.code(): {error.status} for error in every_error() if error.code() not in ANYWHERE}
    assert documented == expected


def test_the_introduction_is_short_and_leads_to_the_problems(document: dict[str, Any]) -> None:
    introduction = document["info"]["description"]

    assert len(introduction) < 600
    assert "(problems)" in introduction


def test_a_member_that_a_response_may_lack_is_optional_and_never_null(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]

    assert set(schemas["Problem"]["required"]) == {"type", "title", "status", "detail", "code"}
    assert schemas["Prediction"]["properties"]["wnid"] == {"type": "string", "title": "Wnid"}
    assert [value for value in every(schemas, "default") if value is None] == []
    assert schemas["SegmentedImage"]["properties"]["mask"]["oneOf"]


def test_a_parameter_is_left_out_and_never_null(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        for operation in methods.values():
            for parameter in operation.get("parameters", []):
                assert {"type": "null"} not in parameter["schema"].get("anyOf", [])
                assert parameter["schema"].get("default", "") is not None


def test_the_files_of_a_form_are_bytes(document: dict[str, Any]) -> None:
    form = document["paths"]["/v1/classify"]["post"]["requestBody"]["content"]["multipart/form-data"]["schema"]

    item = form["properties"]["file"]["items"]
    assert item == {"type": "string", "contentMediaType": "application/octet-stream", "format": "binary"}


def test_the_served_models_are_named_and_others_are_not_rejected(document: dict[str, Any]) -> None:
    first, *_ = document["paths"]["/v1/segment"]["post"]["parameters"]

    assert first["description"].endswith("Served: `tiny-segmenter`.")
    assert first["schema"]["items"]["examples"] == ["tiny-segmenter"]
    assert "enum" not in first["schema"]["items"]


def test_the_models_are_not_named_to_callers_without_a_key(store: Path) -> None:
    described = create_app(Settings(model_store=store, keys=f"web classify {digest('web')}")).openapi()

    assert "tiny-" not in str(described["paths"]["/v1/segment"])


def test_a_problem_that_may_be_tried_again_has_the_header_that_says_when(document: dict[str, Any]) -> None:
    response = document["paths"]["/v1/classify"]["post"]["responses"]["503"]

    assert "Retry-After" in response["headers"]


@pytest.mark.parametrize("path", ["/v1/classify", "/v1/segment", "/v1/embed", "/v1/explain"])
def test_the_three_shapes_of_a_body_are_described(path: str, document: dict[str, Any]) -> None:
    body = document["paths"][path]["post"]["requestBody"]

    assert body["required"]
    assert {"image/jpeg", "application/octet-stream", "multipart/form-data", "application/json"} <= set(body["content"])


def test_the_parameters_are_described_with_their_bounds(document: dict[str, Any]) -> None:
    parameters = {row["name"]: row for row in document["paths"]["/v1/classify"]["post"]["parameters"]}

    of_query = {"model", "top_k", "min_score", "unknown", "lang"}
    assert set(parameters) == {*of_query, "Request-Timeout", "X-Model-Version", "Priority"}
    assert parameters["min_score"]["schema"]["maximum"] == 1
    assert all(row["description"] for row in parameters.values())


def test_the_mask_of_the_example_is_a_picture(document: dict[str, Any]) -> None:
    content = document["paths"]["/v1/segment"]["post"]["responses"]["200"]["content"]
    (result,) = content["application/json"]["examples"]["SegmentResponse"]["value"]["results"]

    image = Image.open(io.BytesIO(base64.b64decode(result["mask"]["data"])))

    areas = {class_id: count for count, class_id in image.getcolors() or []}
    assert image.size == (result["mask"]["width"], result["mask"]["height"])
    assert areas == {row["class_id"]: row["pixels"] for row in result["segments"]}
    assert "image/png" in content


@pytest.mark.anyio
@pytest.mark.parametrize("path", ["/v1/classify", "/v1/segment", "/v1/embed", "/v1/explain", "/v2/models/{name}/infer"])
async def test_the_example_of_a_request_is_answered(path: str, running: Running, document: dict[str, Any]) -> None:
    example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]

    async with running() as client:
        response = await client.post(path.replace("{name}", "tiny-classifier"), json=example)

    assert response.status_code == 200


@pytest.mark.anyio
async def test_answers_fit_the_description(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    for path, name in [
        ("/v1/models", "/v1/models"),
        ("/v1/models/tiny-segmenter", "/v1/models/{name}"),
        ("/readyz",) * 2,
        ("/v2",) * 2,
        ("/v2/models/tiny-segmenter", "/v2/models/{name}"),
        ("/v2/models/tiny-segmenter/ready", "/v2/models/{name}/ready"),
    ]:
        response = await client.get(path)
        schema = document["paths"][name]["get"]["responses"]["200"]["content"]["application/json"]["schema"]

        validator(document, schema).validate(response.json())


@pytest.mark.anyio
async def test_the_description_is_served(client: httpx.AsyncClient, document: dict[str, Any]) -> None:
    assert (await client.get("/openapi.json")).json() == document
