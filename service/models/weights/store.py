"""Install and remove the weights of the model store: download or read, verify, convert, and replace atomically."""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from service.models import model_order, text_file
from service.models.cards import CardError, KeyProfile, ModelCard, Source
from service.models.weights import archive, checksums, download
from service.models.weights.checksums import IncompatibleWeightsError, WeightsError
from service.models.weights.download import DownloadError, DownloadRules, Progress, UnavailableError

WEIGHTS_FOLDER = "weights"  # in a model's folder: only this module writes to it, and git ignores it
WeightsState = Literal["ready", "begun", "absent", "missing"]
Notify = Callable[[str], None]


def sources(card: ModelCard) -> tuple[Source, ...]:
    """Return the sources of the weights, in the order in which they are tried."""
    if not card.weights.urls:
        return card.weights.sources
    return (
        Source(urls=card.weights.urls, sha256=card.weights.sha256, profile=card.weights.profile),
        *card.weights.sources,
    )


def state(card: ModelCard) -> WeightsState:
    """Return the state of the weights, judged by which files exist; `checksums.verify` reads them.

    "absent" weights can be pulled. Of "begun" weights a part is already downloaded. "missing" weights have no source.
    """
    if card.weights_path.is_file() and card.checksum is not None:
        return "ready"
    if not sources(card):
        return "missing"
    return "begun" if any(card.weights_path.parent.glob(".*.part")) else "absent"


def is_imported(card: ModelCard) -> bool:
    """Return whether the model was imported from a file, so that its weights cannot be pulled again."""
    return card.weights_path.parent.name == WEIGHTS_FOLDER and not sources(card)


def pull(card: ModelCard, rules: DownloadRules, progress: Progress, notify: Notify) -> bool:
    """Download the weights unless valid ones are installed. Return whether anything was downloaded.

    `notify` gets a message while this waits for another process. Installed weights stay until the new ones are
    complete. Raises `WeightsError`.
    """
    if not sources(card):
        raise WeightsError(
            f"{card.name}: its weights have no source to pull from; get them from a file with `models import`"
        )
    if all(source.without_checksum for source in sources(card)):
        raise WeightsError(
            f"{card.name}: its authors publish no checksum, so a download cannot be verified; download "
            f"{sources(card)[0].urls[0]} yourself, and install it with `models import`"
        )
    with _name_errors(card), _locked(card, notify):
        if _is_valid(card):
            return False
        _check_network(card)
        failures = []
        for source in (each for each in sources(card) if not each.without_checksum):
            part = card.weights_path.with_name(f".{source.checksum}.part")
            try:
                url = download.fetch(source.urls, part, partial(_accept, source), rules, progress)
            except UnavailableError as error:
                failures.append(str(error))
                continue
            try:
                _install(card, source, part, url)
            except IncompatibleWeightsError as error:
                part.unlink()
                raise WeightsError(f"the file from {url} is unusable: {error}") from error
            part.unlink(missing_ok=True)
            return True
        offline = "Without internet, copy the file to this machine, and install it: "
        command = f"resnest-service models import FILE --name {card.name}"
        raise UnavailableError("\n".join([*failures, offline + command]))


def pull_from_file(card: ModelCard, file: Path, notify: Notify) -> None:
    """Install the weights from a local copy of a published file. Raises `WeightsError`.

    It is recognised by its checksum. A file without a published checksum is recognised by its name.
    """
    with _name_errors(card), _locked(card, notify), _unpacked(file, card.weights_path.parent) as checkpoint:
        source = next((each for each in sources(card) if _is_published(each, file, checkpoint)), None)
        if source is None:
            names = [each.urls[0].rpartition("/")[2] for each in sources(card) if each.without_checksum]
            known = ", ".join(each.checksum for each in sources(card) if each.checksum) or card.weights.sha256
            kind = f"name is {', '.join(names)}" if names else f"checksums are {known}"
            raise WeightsError(f"{file} is not one of its published files, whose {kind}")
        _install(card, source, checkpoint, file.name)


def remove(card: ModelCard, archives: Path, notify: Notify) -> None:
    """Delete the pulled weights and the archive that shares them. Delete an imported model completely.

    The folder is renamed away in one step, and never while another process writes to it. Raises `WeightsError` if the
    weights came with the store.
    """
    folder = card.weights_path.parent
    if folder.name != WEIGHTS_FOLDER:
        raise WeightsError(f"{card.name}: its weights came with the model store; only pulled weights can be removed")
    doomed = card.folder if is_imported(card) else folder
    hidden = doomed.with_name(f".{doomed.name}.removed")
    with _name_errors(card), _locked(card, notify):
        for leftover in (hidden, archives / card.name):
            if leftover.exists():
                shutil.rmtree(leftover)
        doomed.rename(hidden)
        shutil.rmtree(hidden)


def checksum_record(digest: str, name: str, origin: str, left_out: Sequence[str] = ()) -> str:
    """Return the text stored beside pulled weights: comments, and a line that `sha256sum --check` reads."""
    rest = f"# left out {' '.join(', '.join(left_out).split())}\n" if left_out else ""
    return f"# made of {' '.join(origin.split())}\n{digest}  {name}\n{rest}"


def _accept(source: Source, part: Path) -> None:
    try:
        with _unpacked(part, part.parent) as checkpoint:
            difference = _mismatch(source, checkpoint)
    except IncompatibleWeightsError as error:
        raise DownloadError(
            f"sent a file that is not the published one: {error}{_web_page_hint(part)}", final=True
        ) from error
    if difference:
        raise DownloadError(
            f"sent a file that is not the published one: {difference}{_web_page_hint(part)}", final=True
        )


def _web_page_hint(part: Path) -> str:
    """Return a hint for the error if the file is HTML, as from a captive portal or a login page."""
    with part.open("rb") as file:
        return "; it is a web page" if file.read(512).lstrip()[:1] == b"<" else ""


def _is_published(source: Source, file: Path, checkpoint: Path) -> bool:
    """Return whether a local file, which contains the checkpoint, is that of the source."""
    if source.without_checksum:
        return any(url.rpartition("/")[2] == file.name for url in source.urls)
    return _mismatch(source, checkpoint) is None


def _mismatch(source: Source, checkpoint: Path) -> str | None:
    """Return how the checksums of the checkpoint differ from the published ones, or None."""
    for name, stated in (("sha256", source.sha256), ("sha1", source.sha1)):
        if stated is None:
            continue
        found = _digest(checkpoint, name)
        if not found.startswith(stated):
            complete = len(stated) == len(found)
            return f"its {name} {'is' if complete else 'begins with'} {found[: len(stated)]}, not {stated}"
    if source.digest and not _digest_kind(source.digest, checkpoint):
        return f"neither its sha256 nor its sha1 begins with {source.digest}"
    return None


def _digest(checkpoint: Path, kind: str) -> str:
    with checkpoint.open("rb") as file:
        return hashlib.file_digest(file, kind).hexdigest()


def _digest_kind(stated: str, checkpoint: Path) -> str | None:
    """Return of which checksum these are the first digits."""
    return next((kind for kind in ("sha256", "sha1") if _digest(checkpoint, kind).startswith(stated)), None)


def _proof(source: Source, checkpoint: Path) -> str:
    """Return what the record says about a checksum that is not one of the usual two, else an empty string."""
    if source.without_checksum:
        return f" (no checksum is published; its sha256 is {_digest(checkpoint, 'sha256')})"
    if source.digest:
        return f" (its {_digest_kind(source.digest, checkpoint)} begins with {source.digest})"
    return ""


def _install(card: ModelCard, source: Source, file: Path, origin: str) -> None:
    """Make the accepted file the model's weights: the last two steps replace the weights and their checksum file.

    Each step is atomic. After a crash between them, `verify` finds that the old checksum does not match.
    """
    target = card.weights_path
    building, recording = (path.with_name(f".{path.name}.building") for path in (target, card.checksum_path))
    try:
        left_out: tuple[str, ...] = ()
        with _unpacked(file, target.parent) as checkpoint:
            origin += _proof(source, checkpoint)
            if card.weights.sha256 is not None:
                shutil.copyfile(checkpoint, building)
            else:
                left_out = _convert(card, checkpoint, source.profile, building)
        record = checksum_record(checksums.sha256(building), target.name, origin, left_out)
        recording.write_text(text_file.printable(record), encoding="utf-8")
        model_order.record(card.folder.parent)
        building.replace(target)
        if card.weights.sha256 is None:
            recording.replace(card.checksum_path)
        else:
            card.checksum_path.unlink(missing_ok=True)
    finally:
        building.unlink(missing_ok=True)
        recording.unlink(missing_ok=True)


def _check_network(card: ModelCard) -> None:
    """Check for timm before the download, which cannot help if timm is missing."""
    from service.models.weights.convert import check  # noqa: PLC0415 - imports torch, which only a conversion needs

    if card.network.library != "own":
        check(card.network)


def _convert(card: ModelCard, checkpoint: Path, profile: KeyProfile, building: Path) -> tuple[str, ...]:
    """Write the weights to `building`, and return the parts of the checkpoint that were left out."""
    from service.models.weights.convert import convert  # noqa: PLC0415 - imports torch, which only a conversion needs

    return convert(checkpoint, card.network, profile, building).left_out


def _is_valid(card: ModelCard) -> bool:
    try:
        checksums.verify(card)
    except CardError:
        return False
    return True


@contextmanager
def _unpacked(file: Path, folder: Path) -> Iterator[Path]:
    """Yield the checkpoint in `file`. A checkpoint extracted from a zip is in `folder` until this exits."""
    extracted = folder / f".{file.name}.unpacked"
    try:
        yield archive.unpack(file, extracted)
    finally:
        extracted.unlink(missing_ok=True)


@contextmanager
def _locked(card: ModelCard, notify: Notify) -> Iterator[None]:
    """Hold the lock that allows only one process at a time to write a model's weights."""
    lock = card.weights_path.with_name(".lock")
    while True:
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as opened:
            waiting = f"{card.name}: waiting for another process that downloads the same weights"
            _acquire(opened.fileno(), partial(notify, waiting))
            if _is_at(opened.fileno(), lock):
                yield
                return


def _acquire(lock: int, on_wait: Callable[[], None]) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        on_wait()
        fcntl.flock(lock, fcntl.LOCK_EX)


def _is_at(opened: int, path: Path) -> bool:
    """Return whether the path still names the open file: `remove` deletes the lock file together with its folder."""
    try:
        return os.path.samestat(os.fstat(opened), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def _name_errors(card: ModelCard) -> Iterator[None]:
    """Prefix errors with the model's name, and turn `OSError` into `WeightsError`."""
    try:
        yield
    except WeightsError as error:
        raise type(error)(f"{card.name}: {error}") from error
    except OSError as error:
        raise WeightsError(f"{card.name}: {error.filename or card.weights_path.parent}: {error.strerror}") from error
