"""Weights come into the model store, and go: fetched or from a file, checked, converted, moved into place whole."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from service.models.cards import CardError, KeyProfile, ModelCard, Source
from service.models.weights import archive, checksums, download
from service.models.weights.checksums import UnfitError, WeightsError
from service.models.weights.download import AddressError, Progress, Rules, UnavailableError

PULLED = "weights"  # the folder in a model's folder that only this module writes to, and git ignores
State = Literal["ready", "begun", "absent", "missing"]
Say = Callable[[str], None]


def sources(card: ModelCard) -> tuple[Source, ...]:
    """Where the weights can be had from, in the order in which they are tried."""
    if not card.weights.urls:
        return card.weights.sources
    return (
        Source(urls=card.weights.urls, sha256=card.weights.sha256, profile=card.weights.profile),
        *card.weights.sources,
    )


def state(card: ModelCard) -> State:
    """Whether the weights are here, by the files' presence alone; `checksums.verify` reads them.

    Absent ones can be pulled, and of those begun a part is here already; missing ones can not.
    """
    if card.weights_path.is_file() and card.checksum is not None:
        return "ready"
    if not sources(card):
        return "missing"
    return "begun" if any(card.weights_path.parent.glob(".*.part")) else "absent"


def is_imported(card: ModelCard) -> bool:
    """Whether this is a model that was made of a file, and that nothing can bring back."""
    return card.weights_path.parent.name == PULLED and not sources(card)


def pull(card: ModelCard, rules: Rules, progress: Progress, say: Say) -> bool:
    """Fetch the weights where they are not here and sound; whether anything was fetched.

    Raises `WeightsError`. The weights that were there, if any, stay until better ones are complete.
    """
    if not sources(card):
        raise WeightsError(f"{card.name}: its weights are published nowhere; `models import` takes them from a file")
    with _errors(card), _locked(card, say):
        if _sound(card):
            return False
        _check_network(card)
        failures = []
        for source in sources(card):
            part = card.weights_path.with_name(f".{source.sha256 or source.sha1}.part")
            try:
                url = download.fetch(source.urls, part, partial(_accept, source), rules, progress)
            except UnavailableError as error:
                failures.append(str(error))
                continue
            try:
                _adopt(card, source, part, url)
            except UnfitError as error:
                part.unlink()
                raise WeightsError(f"what {url} sent cannot be used: {error}") from error
            part.unlink(missing_ok=True)
            return True
        raise UnavailableError("\n".join(failures))


def take(card: ModelCard, file: Path, say: Say) -> None:
    """Take the weights from a published file of this model, which is known by its checksum. Raises `WeightsError`."""
    with _errors(card), _locked(card, say), _unpacked(file, card.weights_path.parent) as checkpoint:
        source = next((each for each in sources(card) if _differs(each, checkpoint) is None), None)
        if source is None:
            known = ", ".join(each.sha256 or str(each.sha1) for each in sources(card)) or card.weights.sha256
            raise WeightsError(f"{file} is none of its published files: those have the checksums {known}")
        _adopt(card, source, checkpoint, file.name)


def remove(card: ModelCard, archives: Path, say: Say) -> None:
    """Delete the pulled weights, and the archive that shares them; a model that cannot be pulled again goes whole.

    They leave their place in one step, and never while they are written. Raises `WeightsError` where the weights came
    with the store.
    """
    folder = card.weights_path.parent
    if folder.name != PULLED:
        raise WeightsError(f"{card.name}: its weights came with the model store; only pulled ones are removed")
    going = card.folder if is_imported(card) else folder
    gone = going.with_name(f".{going.name}.removed")
    with _errors(card), _locked(card, say):
        for left in (gone, archives / card.name):
            if left.exists():
                shutil.rmtree(left)
        going.rename(gone)
        shutil.rmtree(gone)


def record(digest: str, name: str, origin: str) -> str:
    """What is kept beside pulled weights: a comment, and a line that `sha256sum --check` reads."""
    return f"# made of {' '.join(origin.split())}\n{digest}  {name}\n"


def _accept(source: Source, part: Path) -> None:
    try:
        with _unpacked(part, part.parent) as checkpoint:
            difference = _differs(source, checkpoint)
    except UnfitError as error:
        raise AddressError(f"sent a file that is not the published one: {error}{_page(part)}", final=True) from error
    if difference:
        raise AddressError(f"sent a file that is not the published one: {difference}{_page(part)}", final=True)


def _page(part: Path) -> str:
    """A hint where a portal or a login page answered in the file's place."""
    with part.open("rb") as file:
        return "; it is a web page" if file.read(512).lstrip()[:1] == b"<" else ""


def _differs(source: Source, checkpoint: Path) -> str | None:
    """How the checkpoint's checksums are not the published ones, or None."""
    for name, stated in (("sha256", source.sha256), ("sha1", source.sha1)):
        if stated is None:
            continue
        with checkpoint.open("rb") as file:
            found = hashlib.file_digest(file, name).hexdigest()
        if not found.startswith(stated):
            whole = len(stated) == len(found)
            return f"its {name} {'is' if whole else 'begins with'} {found[: len(stated)]}, not {stated}"
    return None


def _adopt(card: ModelCard, source: Source, file: Path, origin: str) -> None:
    """Make the accepted file the model's weights: the last steps put them and their record in place, each whole.

    Between those two steps the record is that of the weights before, which `verify` tells.
    """
    target = card.weights_path
    building, recording = (path.with_name(f".{path.name}.building") for path in (target, card.record_path))
    try:
        with _unpacked(file, target.parent) as checkpoint:
            if card.weights.sha256 is not None:
                shutil.copyfile(checkpoint, building)
            else:
                _convert(card, checkpoint, source.profile, building)
        recording.write_text(record(checksums.sha256(building), target.name, origin), encoding="utf-8")
        building.replace(target)
        if card.weights.sha256 is None:
            recording.replace(card.record_path)
        else:
            card.record_path.unlink(missing_ok=True)
    finally:
        building.unlink(missing_ok=True)
        recording.unlink(missing_ok=True)


def _check_network(card: ModelCard) -> None:
    """Before anything is fetched: a missing timm no download mends."""
    from service.models.weights.convert import check  # noqa: PLC0415 - torch, which only a conversion needs

    if card.network.library != "own":
        check(card.network)


def _convert(card: ModelCard, checkpoint: Path, profile: KeyProfile, building: Path) -> None:
    from service.models.weights.convert import convert  # noqa: PLC0415 - torch, which only a conversion needs

    convert(checkpoint, card.network, profile, building)


def _sound(card: ModelCard) -> bool:
    try:
        checksums.verify(card)
    except CardError:
        return False
    return True


@contextmanager
def _unpacked(file: Path, room: Path) -> Iterator[Path]:
    """The checkpoint in `file`; where it had to be taken out of a zip, it is in `room` for as long as this lasts."""
    into = room / f".{file.name}.unpacked"
    try:
        yield archive.unpack(file, into)
    finally:
        into.unlink(missing_ok=True)


@contextmanager
def _locked(card: ModelCard, say: Say) -> Iterator[None]:
    """One process at a time writes a model's weights; another waits, and then finds them there, or gone."""
    lock = card.weights_path.with_name(".lock")
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as held:
            _hold(held.fileno(), partial(say, f"{card.name}: waiting for another process that gets the same weights"))
            if _is_at(held.fileno(), lock):
                yield
                return


def _hold(lock: int, waits: Callable[[], None]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waits()
        fcntl.flock(lock, fcntl.LOCK_EX)


def _is_at(opened: int, path: Path) -> bool:
    """Whether the path still leads to the open file: `remove` takes the lock away with the folder."""
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _errors(card: ModelCard) -> Iterator[None]:
    """Put the model's name before what went wrong, and tell the operating system's errors in a sentence."""
    try:
        yield
    except WeightsError as error:
        raise type(error)(f"{card.name}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{card.name}: {error.filename or card.weights_path.parent}: {error.strerror}") from error
