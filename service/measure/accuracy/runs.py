"""Run a model over a data set. A journal keeps the outcome of each image, so that a stopped run can continue."""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from service.errors import ServiceError
from service.measure import image_file
from service.measure.accuracy.subjects import Run, Subject
from service.models import text_file
from service.models.cards import CardError
from service.tasks.scoring_base import LabelledImage, PipelineOutput, RejectedImage, Scores

Outcome = Any  # the outcome of the task's scoring, or a `RejectedImage`
Progress = Callable[[int], None]
SHOWN_CODES = 5  # in an error message
HEAD = {  # members of a journal's first line, with words for an error message
    "model": "the model",
    "version": "its version",
    "identity": "its weights, input or precision, or the service",
    "images": "the number of images",
    "digest": "the images, their labels or masks, or the model's labels",
}


def outcomes(subject: Subject, images: Sequence[LabelledImage], run: Run) -> Iterator[Outcome]:
    """Yield the outcome of each image, in their order."""
    remaining = iter(images)
    while batch := list(islice(remaining, subject.batch)):
        for image, output in zip(batch, outputs(run, [image.path for image in batch]), strict=True):
            yield _outcome(subject, image, output)


def _outcome(subject: Subject, image: LabelledImage, output: PipelineOutput | ServiceError | OSError) -> Outcome:
    """Return the outcome of an image. Whatever is wrong with it or its mask is a `RejectedImage`."""
    if isinstance(output, ServiceError):
        return RejectedImage(text_file.printable(image.path), output.code())
    if isinstance(output, OSError):
        return RejectedImage(text_file.printable(image.path), f"cannot be read: {output.strerror}")
    try:
        return subject.scoring.outcome_of(subject, image, output)
    except CardError as error:
        return RejectedImage(text_file.printable(image.path), text_file.printable(error))


def scores(subject: Subject, found: Iterable[Outcome]) -> Scores:
    """Return the scores of the outcomes. Raises `CardError` if every image was rejected."""
    found = list(found)
    accepted = [each for each in found if not isinstance(each, RejectedImage)]
    if not accepted:
        codes = ", ".join(sorted({each.code for each in found if isinstance(each, RejectedImage)})[:SHOWN_CODES])
        raise CardError(f"{subject.name}: no image could be read or scored: {codes}")
    result: Scores = subject.scoring.scores(subject.labels, accepted)
    return result


def resumable(
    subject: Subject, images: Sequence[LabelledImage], root: Path, journal: Path | None, progress: Progress
) -> list[Outcome]:
    """Return all outcomes: those that the `journal` has from an earlier run of the same, and the others.

    The others are added to the journal. `progress` is called with the number of further outcomes. The model is loaded
    only if outcomes are missing. Raises `CardError`, also for the journal of another run.
    """
    head = _head(subject, images, root)
    _require_head(journal, head)
    found = _read(journal, head, subject) if journal else []
    progress(len(found))
    if len(found) == len(images):
        return found
    with _writer(journal, head, found) as write:
        for outcome in outcomes(subject, images[len(found) :], subject.open()):
            found.append(outcome)
            write(outcome)
            progress(1)
    return found


def require_same(subject: Subject, images: Sequence[LabelledImage], root: Path, journal: Path | None) -> None:
    """Raise `CardError` if the journal is of another run, which would be lost, and say what differs."""
    _require_head(journal, _head(subject, images, root))


def outputs(run: Run, paths: Sequence[Path]) -> list[PipelineOutput | ServiceError | OSError]:
    """Return the outputs of a batch. If an image of it is rejected or cannot be read, run them one by one."""
    try:
        uploads = [image_file.read(path) for path in paths]
    except (OSError, ServiceError) as error:
        if len(paths) == 1:
            return [error]
    else:
        try:
            return list(run(*uploads))
        except ServiceError as error:
            if len(paths) == 1:
                return [error]
    return [output for path in paths for output in outputs(run, [path])]


def _head(subject: Subject, images: Sequence[LabelledImage], root: Path) -> dict[str, Any]:
    """Return what must be equal for a run to continue. The digest is of the classes, the images and their truth."""
    digest = hashlib.sha256()
    classes = ([each.class_id, each.label, each.wnid] for each in subject.classes)
    for part in (*classes, *(_truth(image, root) for image in images)):
        digest.update(json.dumps(part).encode())
    return {
        "model": subject.name,
        "version": subject.version,
        "identity": subject.identity,
        "images": len(images),
        "digest": digest.hexdigest(),
    }


def _truth(image: LabelledImage, root: Path) -> list[Any]:
    """Return the state of the image, and its true label, objects, or the state of its mask."""
    objects = [[each.label, *each.box, each.area, each.crowd, bool(each.draw)] for each in image.instances or ()]
    labelled = [*_state(image.path, root), image.label, *objects]
    return [*labelled, *_state(image.mask, root), image.values, image.turn] if image.mask else labelled


def _state(path: Path, root: Path) -> tuple[str, int, int]:
    """Return path, size and modification time, without reading the file. Raises `CardError` if it is missing."""
    try:
        found = path.stat()
    except OSError as error:
        raise CardError(f"{path} cannot be read: {error.strerror}") from error
    return os.path.relpath(path, root), found.st_size, found.st_mtime_ns


def _require_head(journal: Path | None, head: dict[str, Any]) -> None:
    found = _head_of(journal) if journal else None
    if found is None or found == head:
        return
    differing = [words for name, words in HEAD.items() if found.get(name) != head[name]]
    raise CardError(
        f"{journal} has the answers of another run, with a difference in {', '.join(differing)}; name another folder "
        "with --into, or delete the file"
    )


def _head_of(journal: Path) -> dict[str, Any] | None:
    """Return the first line of a journal, or None for a file that is none."""
    try:
        with journal.open(encoding="utf-8") as file:
            found = json.loads(file.readline())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.keys() == HEAD.keys() else None


def _read(journal: Path, head: dict[str, Any], subject: Subject) -> list[Outcome]:
    """Return what an earlier run wrote, up to the first incomplete line."""
    if _head_of(journal) != head:
        return []
    lines = journal.read_text(encoding="utf-8", errors="replace").splitlines()
    kinds = {kind.__name__: kind for kind in (subject.scoring.outcome, RejectedImage)}
    found: list[Outcome] = []
    for line in lines[1:]:
        try:
            kind, fields = json.loads(line)
            found.append(kinds[kind](**{name: _tuple(value) for name, value in fields.items()}))
        except (ValueError, KeyError, TypeError, AttributeError):
            break
    return found


@contextmanager
def _writer(
    journal: Path | None, head: dict[str, Any], found: Sequence[Outcome]
) -> Iterator[Callable[[Outcome], object]]:
    """Yield a function that appends to the journal, which begins with the outcomes `found`."""
    if journal is None:
        yield lambda _outcome: None
        return
    building = journal.with_name(f".{journal.name}.building")
    with building.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head) + "\n")
        file.writelines(_line(outcome) for outcome in found)
        file.flush()
        building.replace(journal)

        def write(outcome: Outcome) -> None:
            file.write(_line(outcome))
            file.flush()

        yield write


def _line(outcome: Outcome) -> str:
    return json.dumps([type(outcome).__name__, asdict(outcome)]) + "\n"


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
