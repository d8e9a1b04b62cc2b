"""A model over a data set, picture by picture; what it said of each is written down, so that a run can go on."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from service.errors import ServiceError
from service.measure.accuracy import scores as evaluation
from service.measure.accuracy.datasets import Dataset, Photo
from service.measure.accuracy.scores import ClassifiedImage, RejectedImage, Scores, SegmentedImage
from service.measure.accuracy.subjects import Run, Subject, best
from service.measure.pipeline import Answer
from service.models.cards import CardError

Outcome = ClassifiedImage | SegmentedImage | RejectedImage
KINDS = {kind.__name__: kind for kind in (ClassifiedImage, SegmentedImage, RejectedImage)}
Progress = Callable[[int], None]


def usable(subject: Subject, dataset: Dataset) -> list[Photo]:
    """The pictures of the data set that know what the model's task is about.

    Raises `CardError` where there are none, or the model has other classes than the data set.
    """
    masks = subject.task == "segmentation"
    photos = [photo for photo in dataset.photos if (photo.mask if masks else photo.label)]
    if not photos:
        raise CardError(f"{dataset.root} has no picture with a {'mask' if masks else 'label'} for {subject.name}")
    if masks and dataset.classes not in (None, len(subject.classes)):
        told = f"{dataset.root} has {dataset.classes} classes ({dataset.layout})"
        raise CardError(f"{told}, and {subject.name} {len(subject.classes)}")
    strangers = set() if masks else {photo.label for photo in photos} - subject.places.keys()
    if strangers:
        raise CardError(
            f"{subject.name} has no label, or several, of the name {_some(strangers)} that {dataset.root} has"
        )
    return photos


def outcomes(subject: Subject, photos: Sequence[Photo], run: Run) -> Iterator[Outcome]:
    """What the model says of each picture, in their order."""
    remaining = iter(photos)
    while batch := list(islice(remaining, subject.batch)):
        for photo, answer in zip(batch, _answers(run, batch), strict=True):
            yield _outcome(subject, photo, answer)


def scores(subject: Subject, found: Iterable[Outcome]) -> Scores:
    """The figures of what was found. Raises `CardError` where no picture could be read."""
    read = [each for each in found if not isinstance(each, RejectedImage)]
    if not read:
        raise CardError(f"{subject.name}: no picture could be read")
    if subject.task == "segmentation":
        return evaluation.segmented(subject.labels, [each for each in read if isinstance(each, SegmentedImage)])
    return evaluation.classified(subject.labels, [each for each in read if isinstance(each, ClassifiedImage)])


def resumable(
    subject: Subject, photos: Sequence[Photo], root: Path, journal: Path | None, progress: Progress
) -> list[Outcome]:
    """All outcomes: those that the `journal` has of an earlier run of the same, and the others, added to it.

    `progress` is told how many are there. The model is not loaded where none is missing. Raises `CardError`.
    """
    head = _head(subject, photos, root)
    found = _read(journal, head) if journal else []
    progress(len(found))
    if len(found) == len(photos):
        return found
    with _written(journal, head, found) as write:
        for outcome in outcomes(subject, photos[len(found) :], subject.open()):
            found.append(outcome)
            write(outcome)
            progress(1)
    return found


def _answers(run: Run, photos: Sequence[Photo]) -> list[Answer | ServiceError]:
    """One by one where a picture of the batch is refused."""
    try:
        return list(run(*(photo.picture.read_bytes() for photo in photos)))
    except OSError as error:
        raise CardError(f"{error.filename} cannot be read: {error.strerror}") from error
    except ServiceError as error:
        if len(photos) == 1:
            return [error]
    return [answer for photo in photos for answer in _answers(run, [photo])]


def _outcome(subject: Subject, photo: Photo, answer: Answer | ServiceError) -> Outcome:
    name = str(photo.picture)
    if isinstance(answer, ServiceError):
        return RejectedImage(name, answer.code())
    if subject.task == "segmentation":
        return _seen(photo, answer, len(subject.classes))
    order, confidence = best(answer, evaluation.BEST)
    return ClassifiedImage(name, subject.places[photo.label], tuple(order), confidence)


def _seen(photo: Photo, answer: Answer, classes: int) -> SegmentedImage:
    true, found = photo.class_ids(), answer.mask
    if true.shape != found.shape:
        raise CardError(f"{photo.mask} is {true.shape}, and its picture {found.shape}")
    highest = true[true != evaluation.IGNORED].max(initial=0)
    if highest >= classes:
        raise CardError(f"{photo.mask} has the class {highest}, and the model {classes} classes")
    counts = evaluation.pixel_counts(true, found, classes)
    where = np.nonzero(counts)
    columns = (each.tolist() for each in (*where, counts[where]))
    return SegmentedImage(str(photo.picture), *(tuple(column) for column in columns))


def _head(subject: Subject, photos: Sequence[Photo], root: Path) -> dict[str, Any]:
    """What must be the same for a run to go on: `told` is of the classes, and of what the answers are held against."""
    told = hashlib.sha256()
    classes = ([each.class_id, each.label, each.wnid] for each in subject.classes)
    for part in (*classes, *(_truth(photo, root) for photo in photos)):
        told.update(json.dumps(part).encode())
    return {
        "model": subject.name,
        "version": subject.version,
        "identity": subject.identity,
        "pictures": len(photos),
        "told": told.hexdigest(),
    }


def _truth(photo: Photo, root: Path) -> list[Any]:
    """The picture, and its true label or mask."""
    picture = [*_state(photo.picture, root), photo.label]
    return [*picture, *_state(photo.mask, root), photo.values] if photo.mask else picture


def _state(path: Path, root: Path) -> tuple[str, int, int]:
    """What differs once a file was changed; its content is not read. Raises `CardError` where it is missing."""
    try:
        found = path.stat()
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}") from error
    return os.path.relpath(path, root), found.st_size, found.st_mtime_ns


def _read(journal: Path, head: dict[str, Any]) -> list[Outcome]:
    """What an earlier run wrote; a line that it was cut off in is left out with all behind it."""
    try:
        lines = journal.read_text(encoding="utf-8").splitlines()
        if not lines or json.loads(lines[0]) != head:
            return []
    except (OSError, ValueError):
        return []
    found: list[Outcome] = []
    for line in lines[1:]:
        try:
            kind, fields = json.loads(line)
            found.append(KINDS[kind](**{name: _tuple(value) for name, value in fields.items()}))
        except (ValueError, KeyError, TypeError, AttributeError):
            break
    return found


@contextmanager
def _written(
    journal: Path | None, head: dict[str, Any], found: Sequence[Outcome]
) -> Iterator[Callable[[Outcome], object]]:
    """A writer of further lines behind those that were found good."""
    if journal is None:
        yield lambda _outcome: None
        return
    whole = journal.with_name(f".{journal.name}.building")
    with whole.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head) + "\n")
        file.writelines(_line(outcome) for outcome in found)
        file.flush()
        whole.replace(journal)

        def write(outcome: Outcome) -> None:
            file.write(_line(outcome))
            file.flush()

        yield write


def _line(outcome: Outcome) -> str:
    return json.dumps([type(outcome).__name__, asdict(outcome)]) + "\n"


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _some(names: Iterable[str]) -> str:
    first, *others = sorted(names)
    return f"{first!r}{f' and {len(others)} others' if others else ''}"
