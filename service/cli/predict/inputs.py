"""Find the files that a command is given: files, folders, patterns and standard input."""

import glob
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Final

from service.cli.predict.failures import InputProblemError, RunFailedError
from service.errors import BodyTooLarge
from service.measure import image_file
from service.measure.accuracy import listing
from service.measure.accuracy.listing import Remarks
from service.models import text_file

STDIN: Final = "-"
UNREADABLE: Final = "file_unreadable"
NOT_FOUND: Final = "file_not_found"
NO_IMAGES: Final = "folder_without_images"
URL: Final = re.compile(r"(https?|file|s3|gs):/|data:", re.IGNORECASE)  # a path keeps one slash of two


@dataclass(frozen=True)
class InputFile:
    """A file to send: its name in the output, its path (None is standard input), and where files about it are written.

    `place` is the file's name, or its path in the folder that was given.
    """

    name: str
    path: Path | None
    place: PurePath


def find(arguments: Iterable[str], left_out: Remarks) -> Iterator[InputFile]:
    """Yield the files that the arguments mean, in their order. A folder's files are sorted.

    An argument is a file, a folder, a pattern such as `photos/**/*.jpg`, or `-` for standard input. An argument that
    matches nothing is yielded too: `read` raises for it. Files of a folder that are not images are in `left_out`.
    Raises `RunFailedError` for an empty argument.
    """
    for argument in arguments:
        if not argument:  # of a variable without a value; as a path it would be the working folder
            raise RunFailedError("a file has an empty name; the working folder is .")
        if argument == STDIN:
            yield InputFile(STDIN, None, PurePath("stdin"))
        elif os.path.lexists(argument) or not glob.has_magic(argument):
            yield from _of_path(Path(argument), left_out)
        else:
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 - the pattern may be absolute
            for match in matches or [argument]:
                yield from _of_path(Path(match), left_out)


def of_file(path: Path) -> InputFile:
    """Return the input of one file."""
    return InputFile(text_file.printable(path), path, PurePath(path.name or "folder"))


def read(file: InputFile) -> bytes:
    """Return the bytes of an input. Raises `InputProblemError`."""
    if file.path is None:
        return sys.stdin.buffer.read()
    try:
        if not file.path.exists():
            if URL.match(file.name):
                raise InputProblemError(NOT_FOUND, f"{file.name} is a URL. Download the image, and name its file")
            raise InputProblemError(NOT_FOUND, f"{file.name}: there is no such file, and no file matches it")
        if file.path.is_dir():
            os.scandir(file.path).close()  # raises if it cannot be read
            raise InputProblemError(NO_IMAGES, f"{file.name} is a folder without images")
        return image_file.read(file.path)
    except BodyTooLarge as error:
        raise InputProblemError(error.code(), f"{file.name} has {error.actual} bytes; at most {error.limit}") from error
    except OSError as error:
        raise InputProblemError(UNREADABLE, f"{file.name} cannot be read: {error.strerror}") from error


def _of_path(path: Path, left_out: Remarks) -> Iterator[InputFile]:
    if not (path.is_dir() and os.access(path, os.R_OK | os.X_OK)):
        yield of_file(path)
        return
    found = None
    for found in listing.walk(path, left_out):
        yield InputFile(text_file.printable(found), found, PurePath(found.relative_to(path)))
    if found is None:
        yield of_file(path)  # `read` says that it is a folder without images
