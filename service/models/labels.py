"""The class labels of a model, read from a label file."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field

from service.models import text_file
from service.models.inputs import CardTable

LANGUAGE = r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8}){0,3}$"

BACKGROUND: Final = "background"  # in lower case: the label of what is no thing in a mask

SHOWN = 10  # classes in a summary
FIRST = 3  # where there are more

Colour = tuple[int, int, int]
Language = Annotated[str, Field(pattern=LANGUAGE)]
Name = Annotated[str, Field(min_length=1, pattern=r"\S")]


class LabelsError(ValueError):
    """A label file is unusable; the message names the reason."""


class Label(CardTable):
    """A class: its name, its colour in masks (black if not set), and its WordNet id and its id in COCO, if any."""

    class_id: int
    label: str
    color: Colour = (0, 0, 0)
    wnid: str | None = None
    category_id: int | None = None

    @property
    def hex_color(self) -> str:
        """Return the colour as `#rrggbb`."""
        return hex_of(self.color)


def hex_of(colour: Colour) -> str:
    """Return a colour as `#rrggbb`."""
    return "#{:02x}{:02x}{:02x}".format(*colour)


class Names(CardTable):
    """The language (BCP 47) of the labels, and the labels in other languages, in the same order."""

    language: Language = "en"
    names: dict[Language, tuple[Name, ...]] = Field(default_factory=dict)


def summary(labels: Sequence[Label]) -> str:
    """Return how many classes there are and which, or the first ones of many: what a model knows, in one line."""
    names = ", ".join(label.label for label in labels[: SHOWN if len(labels) <= SHOWN else FIRST])
    return f"{len(labels)} classes{': ' if len(labels) <= SHOWN else ', such as '}{names}"


def renamed(labels: Iterable[Label], names: Iterable[str]) -> tuple[Label, ...]:
    """Return the labels with other names."""
    return tuple(label.model_copy(update={"label": name}) for label, name in zip(labels, names, strict=True))


def by_name(labels: Iterable[str]) -> dict[str, str]:
    """Return the label for each name that means it: the label itself, and its folded form if no other label has it."""
    labels = list(labels)
    folded = Counter(map(text_file.folded, labels))
    by_form = {form: label for label in labels if folded[form := text_file.folded(label)] == 1}
    return by_form | {label: label for label in labels}


def find(name: str, names: Mapping[str, str]) -> str | None:
    """Return the label that a name of a data set means among those of `by_name`, or None."""
    return names.get(name) or names.get(text_file.folded(name))


def ids_by_name(labels: Iterable[Label]) -> dict[str, list[int]]:
    """Return the class ids that each name means: those of the classes with this label, or else the one with this id."""
    labels = list(labels)
    found: dict[str, list[int]] = {str(label.class_id): [label.class_id] for label in labels}
    of_label: dict[str, list[int]] = {}
    for label in labels:
        of_label.setdefault(label.label, []).append(label.class_id)
    return found | of_label


def distinct(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels, all different: where classes share one, as the two cranes of ImageNet, their ids follow it."""
    counts = Counter(labels)
    return tuple(label if counts[label] == 1 else f"{label} #{index}" for index, label in enumerate(labels))


def read(path: Path, *, table: bool) -> tuple[Label, ...]:
    """Return the labels of a file by class id; `table` is set for a shared label set. Raises `LabelsError`."""
    try:
        lines = text_file.read(path).rstrip().split("\n")
        return tuple((_rows if table else _lines)(lines if lines != [""] else []))
    except LabelsError:
        raise
    except (OSError, ValueError, csv.Error) as error:
        raise LabelsError(f"the labels {path} cannot be read: {error}") from error


def _lines(lines: Sequence[str]) -> Iterator[Label]:
    """Yield the labels of a label file with the lines `name` or `name<tab>#rrggbb`."""
    for class_id, line in enumerate(lines):
        name, _, colour = line.partition("\t")
        yield _label(class_id, name, colour)


def _rows(lines: Sequence[str]) -> Iterator[Label]:
    """Yield the labels of a shared set by its columns `class_id`, `label`, `color`, `wnid` and `category_id`."""
    for class_id, row in enumerate(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)):
        if row.get("class_id") != str(class_id):
            raise LabelsError(f"row {class_id} of the label set is not class {class_id}")
        ids = {"wnid": row.get("wnid"), "category_id": row.get("category_id")}
        yield _label(class_id, row.get("label") or "", row.get("color"), **ids)


def _label(class_id: int, name: str, colour: str | None, **ids: str | None) -> Label:
    name, colour = text_file.name(name), (colour or "").strip()
    if not name:
        raise LabelsError(f"label {class_id} is empty")
    try:
        shown = _colour(colour) if colour else (0, 0, 0)
    except ValueError as error:
        raise LabelsError(f"label {class_id} has the colour {colour!r}, which is not #rrggbb") from error
    try:
        return Label.model_validate({"class_id": class_id, "label": name, "color": shown, **ids})
    except ValueError as error:
        raise LabelsError(f"label {class_id} has the category_id {ids['category_id']!r}, not a number") from error


def _colour(text: str) -> Colour:
    if len(text) != 7 or text[0] != "#":
        raise ValueError(text)
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue
