"""The results of a bulk run: JSON Lines with one line for each input. The file is the journal of the run, too."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from service.cli.bulk.input_set import NameSet
from service.cli.predict.failures import RunFailedError

# The first members of a line, which are all that a run that continues reads.
HEAD: Final = re.compile(
    rb'\{"file":(?P<name>"(?:[^"\\]|\\.)*")(?:(?P<error>,"error":)|,"models?":(?P<models>\{[^{}]*\}|\[[^\[\]]*\]))?'
)
BLOCK: Final = 1 << 20


class Lines(Protocol):
    """An open file that is read line by line, and appended to through its descriptor."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def seek(self, position: int, /) -> object:
        """Go to a position in bytes."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the lines."""


class ResultsFile:
    """An open results file, locked against other runs. `done` has the inputs that have a line.

    Its answers are of one model and version, if they were when it was opened, unless `may_mix` is true.
    """

    def __init__(self, path: Path, file: Lines, *, may_mix: bool = False) -> None:
        self._file = file
        self._may_mix = may_mix
        self._models: set[str] = set()
        self.path = path
        self.failed = 0  # lines with a problem
        self.added = 0  # lines of this run
        self.done = NameSet(self._names())

    def append(self, line: bytes) -> None:
        """Add a line, which ends in a newline. After this, the end of the process cannot lose it.

        Raises `OSError`, and `RunFailedError` for an answer of another model or version.
        """
        head = HEAD.match(line)
        self._check_model(_named(head["models"]) if head and head["models"] else "")
        left = memoryview(line)
        while left:  # a full disk or a signal may cut a write off
            left = left[os.write(self._file.fileno(), left) :]
        self.added += 1

    def _check_model(self, model: str) -> None:
        if not model:
            return
        if self._models and model not in self._models and not self._may_mix:
            raise RunFailedError(
                f"the answers are of {model} now, and {self.path} has answers of "
                f"{', '.join(sorted(self._models))}; name another file with --out, or accept both with --mix-models"
            )
        self._models.add(model)

    def _names(self) -> Iterator[str]:
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            head = HEAD.match(line)
            if head is None:
                raise RunFailedError(
                    f"line {number} of {self.path} is not of this command; name another file with --out"
                )
            self.failed += head["error"] is not None
            if head["models"]:
                self._models.add(_named(head["models"]))
            yield json.loads(head["name"])


@lru_cache
def _named(models: bytes) -> str:
    """Return the name and version of the model, or of each, in the member `model` or `models` of a line."""
    found = json.loads(models)
    every = found if isinstance(found, list) else [found]
    return " and ".join(f"{each['name'].partition('@')[0]} {each['version']}" for each in every)


@contextmanager
def opened(
    path: Path, run: Mapping[str, Any], *, retried: NameSet | None = None, may_mix: bool = False
) -> Iterator[ResultsFile]:
    """Yield the results file at `path`, which continues an earlier run if `run` is the same.

    What a killed process left of a line is removed, and so are lines with a problem about an input in `retried`.
    Raises `RunFailedError` if another run writes the file, or another command or question wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as described:
        _check(path, described, run)
        if retried is not None:
            _remove_failed(path, retried)
        with path.open("ab+", buffering=0) as raw:
            _cut_off(raw)
        with path.open("ab+") as file:
            yield ResultsFile(path, file, may_mix=may_mix)
            os.fsync(file.fileno())


def description(path: Path) -> Path:
    """Return the file beside the results that describes the run, and that is locked while it runs."""
    return path.with_name(f".{path.name}.run.json")


def record_left_out(path: Path, lines: Sequence[str]) -> None:
    """Write what the run at `path` leaves out beside its results, as `<name>.left-out.txt`; without lines no file."""
    record = path.with_name(f"{path.name}.left-out.txt")
    if lines:
        record.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    else:
        record.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[BinaryIO]:
    with description(path).open("ab+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RunFailedError(f"another run writes {path}") from error
        yield file


def _check(path: Path, described: BinaryIO, run: Mapping[str, Any]) -> None:
    earlier = _last(described)
    has_lines = path.exists() and path.stat().st_size > 0
    if has_lines and earlier is None:
        raise RunFailedError(
            f"{path} has lines, and {description(path)} does not say of which run; name another file with --out"
        )
    # The folder is stated only if names are relative to it, so a run without it fits every other.
    changed = [name for name in run if earlier and name in earlier and earlier[name] != run[name]]
    if has_lines and changed:
        asked = ", ".join(f"{name} {json.dumps((earlier or {}).get(name))}" for name in changed)
        raise RunFailedError(f"{path} has the results of another run, with {asked}; name another file with --out")
    now = {**(earlier or {}), **run} if has_lines else dict(run)
    if earlier != now:
        _cut_off(described)
        described.write(json.dumps(now).encode() + b"\n")  # added, so that a crash here leaves the one before
        described.flush()
        os.fsync(described.fileno())


def _last(described: BinaryIO) -> dict[str, Any] | None:
    """Return the last description that was written completely."""
    described.seek(0)
    whole = [line for line in described.read().splitlines(keepends=True) if line.endswith(b"\n")]
    try:
        found: dict[str, Any] | None = json.loads(whole[-1]) if whole else None
    except ValueError:
        return None
    return found


def _cut_off(file: BinaryIO) -> None:
    """Remove what follows the last newline."""
    end = file.seek(0, os.SEEK_END)
    position = end
    while position > 0:
        start = max(0, position - BLOCK)
        file.seek(start)
        last = file.read(position - start).rfind(b"\n")
        if last >= 0:
            position = start + last + 1
            break
        position = start
    if position != end:
        file.truncate(position)


def _remove_failed(path: Path, names: NameSet) -> None:
    """Replace the file by one without the lines that have a problem and are about one of `names`."""
    if not path.exists():
        return
    building = path.with_name(f".{path.name}.building")
    with path.open("rb") as old, building.open("wb") as new:
        for line in old:
            head = HEAD.match(line)
            if head is None or head["error"] is None or json.loads(head["name"]) not in names:
                new.write(line)
        new.flush()
        os.fsync(new.fileno())
    building.replace(path)
