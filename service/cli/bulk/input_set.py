"""Sets of names in eight bytes a name, and the inputs of a bulk run: folders, patterns and manifests."""

import csv
import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from service.cli.predict import inputs
from service.cli.predict.failures import RunFailedError
from service.cli.predict.inputs import InputFile
from service.measure.accuracy.listing import Remarks
from service.models import text_file
from service.models.text_file import TextError
from service.tasks.scoring_base import Remark

MANIFESTS: Final = frozenset((".txt", ".lst", ".csv"))
COLUMNS: Final = ("file", "image", "path", "filename")  # of a CSV manifest, the first that is there
HEAD_BYTES: Final = 4096


class NameSet:
    """A set of names as 64-bit hashes. Of a million names, two have one hash with a probability of 1 in 30 million."""

    def __init__(self, names: Iterable[str]) -> None:
        hashes = array("Q", (_hash(name) for name in names))
        every = np.frombuffer(hashes, np.uint64) if hashes else np.empty(0, np.uint64)
        self._hashes: npt.NDArray[np.uint64] = np.unique(every)

    def __len__(self) -> int:
        return len(self._hashes)

    def __contains__(self, name: str) -> bool:
        return self.index(name) is not None

    def index(self, name: str) -> int | None:
        """Return the number of a name, from 0, or None if the set lacks it."""
        wanted = np.uint64(_hash(name))
        index = int(np.searchsorted(self._hashes, wanted))
        return index if index < len(self._hashes) and self._hashes[index] == wanted else None

    def count_in(self, other: "NameSet") -> int:
        """Return how many of these names `other` has too."""
        return len(np.intersect1d(self._hashes, other._hashes, assume_unique=True))


@dataclass
class LeftOut:
    """Counts the files that are left out by reason, with a few names of each, in bounded memory."""

    shown: int = 5

    def __post_init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.examples: dict[str, list[str]] = {}

    def append(self, remark: Remark, /) -> None:
        """Add a file and its reason."""
        self.counts[remark.reason] = self.counts.get(remark.reason, 0) + 1
        examples = self.examples.setdefault(remark.reason, [])
        if len(examples) < self.shown:
            examples.append(text_file.printable(remark.path))

    def lines(self) -> Iterator[str]:
        """Yield a line for each reason."""
        for reason, count in self.counts.items():
            shown = ", ".join(self.examples[reason])
            yield f"{count} file{'s' * (count > 1)}, because {reason}: {shown}{', ...' * (count > self.shown)}"


def find(arguments: Sequence[str], left_out: Remarks) -> Iterator[InputFile]:
    """Yield the inputs of folders, patterns, files and manifests. Raises `RunFailedError` for a manifest of no use.

    A manifest is a text file with a path on each line, or a CSV file with one of `COLUMNS`. Its paths are relative to
    its folder.
    """
    for argument in arguments:
        path = Path(argument)
        if argument == inputs.STDIN:
            raise RunFailedError("standard input is one image, which is no bulk: use the command of its endpoint")
        if path.suffix.lower() in MANIFESTS and path.is_file():
            yield from _of_manifest(path)
        else:
            yield from inputs.find([argument], left_out)


class Remaining:
    """The inputs of a set that have no line yet. The folders are read again for them, because a set has no names.

    Files that were added since the set was made are not yielded; `added` is the name of one of them. After all are
    yielded, `left_out` has the files that this reading left out.
    """

    def __init__(self, arguments: Sequence[str], names: NameSet, done: NameSet) -> None:
        self.added: str | None = None
        self.left_out = LeftOut()
        self._arguments = arguments
        self._names = names
        self._done = done
        self._met = np.zeros(len(names), np.bool_)

    def __iter__(self) -> Iterator[InputFile]:
        """Yield each input once, although several arguments may mean it. Raises `RunFailedError`."""
        for file in find(self._arguments, self.left_out):
            index = self._names.index(file.name)
            if index is None:
                self.added = self.added or file.name
            elif not self._met[index]:
                self._met[index] = True
                if file.name not in self._done:
                    yield file


def _of_manifest(path: Path) -> Iterator[InputFile]:
    try:
        with path.open("rb") as head:
            text_file.decode(head.read(HEAD_BYTES).rpartition(b"\n")[0])  # refuses other encodings
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            names = _of_table(file, path) if path.suffix.lower() == ".csv" else (line.rstrip("\r\n") for line in file)
            for name in names:
                if name:
                    yield inputs.of_file(path.parent / name)
    except (OSError, TextError, csv.Error) as error:
        raise RunFailedError(f"the manifest {path} cannot be used: {error}") from error


def _of_table(file: Iterable[str], path: Path) -> Iterator[str]:
    rows = csv.reader(file)
    head = [cell.strip().lower() for cell in next(rows, [])]
    column = next((head.index(name) for name in COLUMNS if name in head), None)
    if column is None:
        raise RunFailedError(f"the manifest {path} has no column {', '.join(COLUMNS)}; it has {', '.join(head)}")
    for row in rows:
        if len(row) > column:
            yield row[column]


def _hash(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
