"""The results of a bulk run: JSON Lines with one line for each input. The file is the journal of the run, too."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from service.cli.bulk.input_set import NameSet
from service.cli.predict.failures import RunFailedError

# The first members of a line, which are all that a run that continues reads.
HEAD: Final = re.compile(rb'\{"file":("(?:[^"\\]|\\.)*")(,"error":)?')
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
    """An open results file, locked against other runs. `done` has the inputs that have a line."""

    def __init__(self, path: Path, file: Lines) -> None:
        self._file = file
        self.path = path
        self.failed = 0  # lines with a problem
        self.done = NameSet(self._names())

    def append(self, line: bytes) -> None:
        """Add a line, which ends in a newline. After this, the end of the process cannot lose it."""
        left = memoryview(line)
        while left:  # a full disk or a signal may cut a write off
            left = left[os.write(self._file.fileno(), left) :]

    def _names(self) -> Iterator[str]:
        self._file.seek(0)
        for number, line in enumerate(self._file, 1):
            found = HEAD.match(line)
            if found is None:
                raise RunFailedError(
                    f"line {number} of {self.path} is not of this command; name another file with --out"
                )
            self.failed += found[2] is not None
            yield json.loads(found[1])


@contextmanager
def opened(path: Path, run: Mapping[str, Any], *, retry_failed: bool = False) -> Iterator[ResultsFile]:
    """Yield the results file at `path`, which continues an earlier run if `run` is the same.

    What a killed process left of a line is removed. With `retry_failed`, so are lines with a problem. Raises
    `RunFailedError` if another run writes the file, or another command or question wrote it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(path) as described:
        _check(path, described, run)
        if retry_failed:
            _remove_failed(path)
        with path.open("ab+", buffering=0) as raw:
            _cut_off(raw)
        with path.open("ab+") as file:
            yield ResultsFile(path, file)
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
    described.seek(0)
    text = described.read()
    has_lines = path.exists() and path.stat().st_size > 0
    try:
        earlier = json.loads(text) if text else None
    except ValueError:  # the process was killed while it wrote this, before the first line
        earlier = None
    # The folder is stated only if names are relative to it, so a run without it fits every other.
    changed = [name for name in run if earlier is None or (name in earlier and earlier[name] != run[name])]
    if has_lines and changed:
        asked = ", ".join(f"{name} {json.dumps((earlier or {}).get(name))}" for name in changed)
        raise RunFailedError(f"{path} has the results of another run, with {asked}; name another file with --out")
    described_run = {**earlier, **run} if has_lines and earlier else dict(run)
    if earlier != described_run:
        described.truncate(0)
        described.write(json.dumps(described_run).encode() + b"\n")
        described.flush()
        os.fsync(described.fileno())


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


def _remove_failed(path: Path) -> None:
    """Replace the file by one without the lines that have a problem."""
    if not path.exists():
        return
    building = path.with_name(f".{path.name}.building")
    with path.open("rb") as old, building.open("wb") as new:
        for line in old:
            found = HEAD.match(line)
            if found is None or found[2] is None:
                new.write(line)
        new.flush()
        os.fsync(new.fileno())
    building.replace(path)
