"""JSON Schemas of the bodies and parameters, in the form that code generators and Swagger UI handle best."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from service.tasks import TASKS

REF = "#/components/schemas/{model}"
NULL = {"type": "null"}


def schemas(requests: Iterable[type[BaseModel]], responses: Iterable[type[BaseModel]]) -> dict[str, Any]:
    """Return the schemas of all bodies by name. Where one names a task, the registered tasks are its values.

    A member that is absent from a response where it has no value is optional, and not null: pydantic says both.
    Requests keep null, because the service accepts it.
    """
    received, sent = _defined(requests), _defined(responses)
    for schema in sent.values():
        properties = schema.get("properties", {})
        properties |= {name: without_null(each) for name, each in properties.items() if _is_null_by_default(each)}
    found = sent | received
    for schema in found.values():
        properties = schema.get("properties", {})
        for each in properties.values():
            if _is_null_by_default(each):
                del each["default"]  # generators take a member with a default for one that is always there
        if "task" in properties:
            properties["task"]["enum"] = list(TASKS)
    return found


def without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of an optional value without null, and without null as its default."""
    kept = {name: value for name, value in schema.items() if name != "default" or value is not None}
    choices = [each for each in kept.get("anyOf", []) if each != NULL]
    if len(choices) == len(kept.get("anyOf", [])):
        return kept
    del kept["anyOf"]
    return {**choices[0], **kept} if len(choices) == 1 else {"anyOf": choices, **kept}


def binary(media_type: str) -> dict[str, str]:
    """Return the schema of bytes of that type.

    `contentMediaType` is what OpenAPI 3.1 prescribes. Swagger UI and generators of Python clients read `format`, which
    OpenAPI 3.0 prescribed: without it a form has a text box in place of a file button.
    """
    return {"type": "string", "contentMediaType": media_type, "format": "binary"}


def one_of(shapes: tuple[type[BaseModel], ...]) -> dict[str, Any]:
    """Return the schema of a body that has one of these shapes."""
    references = [{"$ref": REF.format(model=shape.__name__)} for shape in shapes]
    return references[0] if len(references) == 1 else {"oneOf": references}


def _defined(shapes: Iterable[type[BaseModel]]) -> dict[str, Any]:
    known = dict.fromkeys(shapes)
    _, found = models_json_schema([(shape, "serialization") for shape in known], ref_template=REF)
    defined: dict[str, Any] = found.get("$defs", {})
    return defined


def _is_null_by_default(schema: dict[str, Any]) -> bool:
    return "default" in schema and schema["default"] is None
