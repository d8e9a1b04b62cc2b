"""The classes of a model by their ids, read from a label file."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from service.models.inputs import CardTable

LANGUAGE = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$"

Colour = tuple[int, int, int]
Language = Annotated[str, Field(pattern=LANGUAGE)]
Name = Annotated[str, Field(min_length=1, pattern=r"\S")]


class LabelsError(ValueError):
    """A label file that cannot be used; the message says what is wrong with it."""


class Label(CardTable):
    """A class: its name, its colour in masks (black where the card has none), and its WordNet id where it has one."""

    class_id: int
    label: str
    color: Colour = (0, 0, 0)
    wnid: str | None = None

    @property
    def hex_color(self) -> str:
        """The colour as `#rrggbb`."""
        return "#{:02x}{:02x}{:02x}".format(*self.color)


class Names(CardTable):
    """The language (BCP 47) of labels, and the labels in others, in the same order."""

    language: Language = "en"
    names: dict[Language, tuple[Name, ...]] = Field(default_factory=dict)


def renamed(labels: Iterable[Label], names: Iterable[str]) -> tuple[Label, ...]:
    """The labels under other names."""
    return tuple(label.model_copy(update={"label": name}) for label, name in zip(labels, names, strict=True))


def read(path: Path, *, table: bool) -> tuple[Label, ...]:
    """The labels of a file in the order of their class ids; `table` is for a shared set. Raises `LabelsError`."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple((_rows if table else _lines)(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(f"the labels {path} cannot be read: {error}") from error


def _lines(file: Iterable[str]) -> Iterator[Label]:
    """The labels of a label file: `name`, or `name<tab>#rrggbb`."""
    for class_id, line in enumerate(file):
        name, _, colour = line.rstrip("\r\n").partition("\t")
        yield _label(class_id, name, colour)


def _rows(file: Iterable[str]) -> Iterator[Label]:
    """The labels of a shared set: columns `class_id`, `label`, and `color` or `wnid`; others are for people."""
    for class_id, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
        if row.get("class_id") != str(class_id):
            raise LabelsError(f"row {class_id} of its label set is not that of class {class_id}")
        yield _label(class_id, row.get("label") or "", row.get("color"), row.get("wnid"))


def _label(class_id: int, name: str, colour: str | None, wnid: str | None = None) -> Label:
    if not name.strip():
        raise LabelsError(f"label {class_id} is empty")
    try:
        return Label(class_id=class_id, label=name, color=_colour(colour) if colour else (0, 0, 0), wnid=wnid)
    except ValueError as error:
        raise LabelsError(f"label {class_id} has the colour {colour!r}, which is not #rrggbb") from error


def _colour(text: str) -> Colour:
    if len(text) != 7 or text[0] != "#":
        raise ValueError(text)
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
