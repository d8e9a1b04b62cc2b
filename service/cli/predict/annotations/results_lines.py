"""The lines of results: of `bulk`, or of a command with --json."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from service.cli.predict.failures import RunFailedError
from service.cli.predict.inputs import STDIN
from service.cli.predict.records import FAILED


class Answer(NamedTuple):
    """A line of results, with its number."""

    line: int
    record: dict[str, Any]

    @property
    def failed(self) -> bool:
        """Whether the line has a problem in place of an answer."""
        return FAILED in self.record


@contextmanager
def opened(path: Path) -> Iterator[Iterator[Answer]]:
    """Yield the answers of a file of results, or of standard input for `-`. They raise `RunFailedError`."""
    if str(path) == STDIN:
        yield _answers(sys.stdin.buffer, path)
        return
    with path.open("rb") as file:
        yield _answers(file, path)


def _answers(lines: Any, path: Path) -> Iterator[Answer]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            name = record["file"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunFailedError(
                f"line {number} of {path} is not an answer about a file; RESULTS is what `bulk --out` or a command "
                "with --json writes"
            ) from error
        if name == STDIN:
            raise RunFailedError(f"line {number} of {path} is about standard input, which is no file to annotate")
        yield Answer(number, record)
