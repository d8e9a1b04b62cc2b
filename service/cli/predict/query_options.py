"""The options of an endpoint's query on the command line, made of the fields of its query model."""

from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from urllib.parse import urlencode

import click
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from service.tasks.base import Endpoint

MODEL: Final = "model"  # has an option of its own


def options(endpoint: Endpoint[Any]) -> list[click.Option]:
    """Return an option for each field of the query but the model: `--top-k` for `top_k`."""
    return [_option(name, field) for name, field in endpoint.query.model_fields.items() if name != MODEL]


def query_of(endpoint: Endpoint[Any], given: Mapping[str, Any], model: str | None = None) -> dict[str, Any]:
    """Return the parameters that were given, as the query takes them. Raises `click.UsageError` for a wrong one."""
    sent = {name: list(value) if isinstance(value, tuple) else value for name, value in given.items() if _is_set(value)}
    sent |= {MODEL: [model]} if model else {}
    try:
        endpoint.query.model_validate(sent)
    except ValidationError as error:
        raise click.UsageError("; ".join(_reason(each) for each in error.errors())) from error
    return sent


def pairs_of(endpoint: Endpoint[Any], pairs: Sequence[str], model: str | None = None) -> dict[str, Any]:
    """Return the parameters of `name=value` pairs, as `query_of` does. A repeated name is a list."""
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        field = endpoint.query.model_fields.get(name)
        if not equals or field is None or name == MODEL:
            known = ", ".join(each for each in endpoint.query.model_fields if each != MODEL)
            raise click.UsageError(f"{pair!r} is not NAME=VALUE with one of the names {known}")
        if _is_list(field.annotation):
            given[name] = (*given.get(name, ()), value)
        else:
            given[name] = value
    return query_of(endpoint, given, model)


def encoded(query: Mapping[str, Any]) -> str:
    """Return the query string of a URL, with its `?`; empty if there are no parameters."""
    sent = {name: str(value).lower() if isinstance(value, bool) else value for name, value in query.items()}
    return f"?{urlencode(sent, doseq=True)}" if sent else ""


def _option(name: str, field: FieldInfo) -> click.Option:
    words = (field.description or "").partition("\n")[0]
    flag = f"--{name.replace('_', '-')}"
    kind = _without_none(field.annotation)
    if kind is bool:
        return click.Option([name, f"{flag}/--no-{flag[2:]}"], default=None, help=words)
    if _is_list(kind):
        return click.Option([name, flag], multiple=True, help=words)
    if get_origin(kind) is Literal:
        return _choice(name, flag, get_args(kind), words)
    return click.Option([name, flag], metavar=_metavar(kind), help=words)


def _choice(name: str, flag: str, values: Sequence[str], words: str) -> click.Option:
    """Return an option for one of the values. Where `true` is one of them, the option alone has that value."""
    if "true" not in values:
        return click.Option([name, flag], type=click.Choice(values), help=words)
    return click.Option([name, flag], type=click.Choice(values), is_flag=False, flag_value="true", help=words)


def _metavar(kind: Any) -> str:
    return {int: "INTEGER", float: "NUMBER"}.get(kind, "TEXT")


def _without_none(kind: Any) -> Any:
    """Return a type without `None` and without the constraints of `Annotated`."""
    if get_origin(kind) is Annotated:
        return _without_none(get_args(kind)[0])
    if get_origin(kind) in (Union, UnionType):
        return next(_without_none(each) for each in get_args(kind) if each is not NoneType)
    return kind


def _is_list(kind: Any) -> bool:
    return get_origin(_without_none(kind)) is list


def _is_set(value: Any) -> bool:
    return value is not None and value != ()


def _reason(error: Any) -> str:
    name = ".".join(str(part) for part in error["loc"])
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}"
