"""The answer about one file as a document, as rows of a table, and as one line of text."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import Annotated, Any, Final, get_args, get_origin

from pydantic import BaseModel

from service.tasks.base import Endpoint

Record = Mapping[str, Any]

FACTS: Final = ("file", "model", "version")
PROBLEM: Final = ("warnings", "problem", "detail")
SHOWN: Final = 5  # classes or objects in a line of text
SHARES: Final = ("score", "share")  # shown after a label, in per cent
FAILED: Final = "error"


def record(name: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document about a file: its name, and the members of the answer or `error` with the problem."""
    return {"file": name, **answer}


def code_of(found: Record) -> str:
    """Return the code of a record's problem; empty if there is an answer."""
    return str(found[FAILED].get("code", "unknown")) if FAILED in found else ""


@dataclass(frozen=True)
class Columns:
    """The columns of an endpoint's answers in a table. `member` of an answer has the rows, or is the only row."""

    member: str
    is_list: bool
    names: tuple[str, ...]

    @classmethod
    def of(cls, endpoint: Endpoint[Any]) -> "Columns":
        """Return the columns that the first response model of an endpoint describes."""
        results = endpoint.responses[0].model_fields["results"].annotation
        members = next(iter(_models_in(results))).model_fields
        of_models = {name: list(_models_in(field.annotation)) for name, field in members.items() if name != "image"}
        lists = [name for name, found in of_models.items() if found and get_origin(members[name].annotation) is list]
        others = [name for name, found in of_models.items() if found and name not in lists]
        member = (*lists, *others)[0]
        names = (name for name, field in of_models[member][0].model_fields.items() if _is_flat(field.annotation))
        return cls(member, bool(lists), tuple(names))

    @cached_property
    def head(self) -> tuple[str, ...]:
        """The names of all columns, also those about the file and its problem."""
        return (*FACTS, *self.names, *PROBLEM)

    def rows(self, found: Record) -> Iterator[list[str]]:
        """Yield the rows of a record: at least one, so that every file is in the table."""
        model = found.get("model", {})
        facts = [found["file"], model.get("name", ""), model.get("version", "")]
        failure = [code_of(found), found[FAILED].get("detail", "")] if FAILED in found else ["", ""]
        problem = [_cell(found.get("warnings")), *failure]
        inner = [] if FAILED in found else self._items(found)
        for item in inner or [{}]:
            yield [*facts, *(_cell(item.get(name)) for name in self.names), *problem]

    def summary(self, found: Record) -> str:
        """Return one line about a record: the classes with their scores, and any doubt of them, or the problem."""
        if FAILED in found:
            return f"{code_of(found)}: {found[FAILED].get('detail', '')}"
        items = self._items(found)
        if not self.is_list:
            return ", ".join(f"{name} {_short(items[0].get(name))}" for name in self.names)
        shown = ", ".join(_named(item) for item in items[:SHOWN])
        more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
        doubt = "unknown, of the classes the best is " if found.get("unknown") and shown else ""
        return f"{doubt}{shown}{more}" or ("unknown" if found.get("unknown") else "none")

    def _items(self, found: Record) -> Sequence[Mapping[str, Any]]:
        member = found.get(self.member)
        if member is None:
            return []
        return member if self.is_list else [member]


def _named(item: Mapping[str, Any]) -> str:
    share = next((f" {100 * item[name]:.1f} %" for name in SHARES if name in item), "")
    return f"{item.get('label', '')}{share}"


def _short(value: Any) -> str:
    text = _cell(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """Yield the models that a type is made of, in their order."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for each in get_args(kind):
        yield from _models_in(each)


def _is_flat(kind: Any) -> bool:
    """Return whether a value of this type fits a cell: a number, a text, or numbers in one list."""
    if any(_models_in(kind)):
        return False
    inner = [each for each in get_args(kind) if each is not NoneType]
    if get_origin(kind) is Annotated:
        return _is_flat(inner[0])
    nested = [each for each in inner if get_origin(each) in (list, tuple)]
    return not nested if get_origin(kind) in (list, tuple) else all(map(_is_flat, nested))
