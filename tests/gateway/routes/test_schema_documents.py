"""JSON Schemas as generators take them: optional members, bytes, alternatives."""

from pydantic import BaseModel

from service.gateway.routes.schema_documents import binary, one_of, schemas, without_null


class Sent(BaseModel):
    """A response."""

    always: str | None
    sometimes: int | None = None
    several: int | str | None = None
    task: str


class Received(BaseModel):
    """A request."""

    sometimes: int | None = None


def test_a_member_of_a_response_that_may_be_absent_is_not_null() -> None:
    properties = schemas([], [Sent])["Sent"]["properties"]

    assert properties["sometimes"] == {"type": "integer", "title": "Sometimes"}
    assert properties["several"]["anyOf"] == [{"type": "integer"}, {"type": "string"}]
    assert "default" not in properties["several"]


def test_a_member_of_a_response_that_is_always_there_may_be_null() -> None:
    schema = schemas([], [Sent])["Sent"]

    assert {"type": "null"} in schema["properties"]["always"]["anyOf"]
    assert schema["required"] == ["always", "task"]


def test_a_member_of_a_request_may_be_null_and_has_no_default() -> None:
    member = schemas([Received], [Sent])["Received"]["properties"]["sometimes"]

    assert {"type": "null"} in member["anyOf"]
    assert "default" not in member


def test_a_task_is_one_of_the_registered_tasks() -> None:
    assert "classification" in schemas([], [Sent])["Sent"]["properties"]["task"]["enum"]


def test_a_schema_without_null_is_unchanged() -> None:
    schema = {"anyOf": [{"type": "integer"}, {"type": "string"}], "default": 1}

    assert without_null(schema) == schema


def test_bytes_are_declared_for_both_versions_of_openapi() -> None:
    assert binary("image/png") == {"type": "string", "contentMediaType": "image/png", "format": "binary"}


def test_one_shape_is_itself_and_several_are_alternatives() -> None:
    assert one_of((Sent,)) == {"$ref": "#/components/schemas/Sent"}
    assert [each["$ref"].rpartition("/")[2] for each in one_of((Sent, Received))["oneOf"]] == ["Sent", "Received"]
