"""List the images of a folder, pair them with masks, and name every file that is left out."""

import os
import stat
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Protocol

from service.imaging import decoder
from service.imaging.formats.file_names import SUFFIXES
from service.models import text_file
from service.tasks.scoring_base import Remark

MASK_ENDINGS: Final = ("_mask", "-mask", "_gt", "_seg", "_label", "_labels")
HEAD_BYTES: Final = 300  # of a file whose name does not say that it is an image
# Folders and files that file systems and tools add. Names that begin with a dot are left out too.
TOOLS: Final = frozenset(
    (
        "@eadir",
        "__macosx",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
        "__pycache__",
        "thumbs.db",
        "desktop.ini",
    ),
)


class Remarks(Protocol):
    """What collects the files that are left out: a list, or what only counts them."""

    def append(self, remark: Remark, /) -> None:
        """Add a file and the reason."""


def images(folder: Path, left_out: Remarks) -> list[Path]:
    """Return the images under a folder, as `walk` yields them."""
    return list(walk(folder, left_out))


def walk(folder: Path, left_out: Remarks) -> Iterator[Path]:
    """Yield the images under a folder, subfolders included, sorted. Every other file is added to `left_out`.

    A file whose suffix is not that of an image is one if its first bytes are. At most the names of one folder, and of
    those above it, are in memory.
    """
    for path in _files(folder, left_out, set()):
        reason = None if path.suffix.lower() in SUFFIXES else _not_an_image(path)
        if reason is None:
            yield path
        else:
            left_out.append(Remark(path, reason))


def pairs(images_folder: Path, masks_folder: Path, left_out: list[Remark]) -> list[tuple[Path, Path]]:
    """Return the images whose mask has the same name at the same place under `masks_folder`.

    Suffixes, case and Unicode form do not matter, and a mask may end in one of `MASK_ENDINGS`. Images without a mask,
    masks without an image, and names that several files have are added to `left_out`.
    """
    masks = _by_name(masks_folder, left_out, MASK_ENDINGS)
    found = []
    for name, paths in _by_name(images_folder, left_out, ()).items():
        drawn = masks.pop(name, [])
        if len(paths) == len(drawn) == 1:
            found.append((paths[0], drawn[0]))
        elif not drawn:
            left_out += [Remark(path, "it has no mask") for path in paths]
        else:
            left_out += [Remark(path, "several images or masks have this name") for path in (*paths, *drawn)]
    left_out += [Remark(path, "it is a mask without an image") for paths in masks.values() for path in paths]
    return found


def find(folder: Path, stem: str, suffix: str) -> Path:
    """Return the file of that stem. Its suffix is `suffix`, or else that of any image."""
    expected = folder / f"{stem}{suffix}"
    if expected.exists():
        return expected
    others = (folder / f"{stem}{each}" for suffix in sorted(SUFFIXES) for each in (suffix, suffix.upper()))
    return next((path for path in others if path.exists()), expected)


def _by_name(folder: Path, left_out: list[Remark], endings: Sequence[str]) -> dict[str, list[Path]]:
    if not folder.is_dir():
        return {}
    found: dict[str, list[Path]] = defaultdict(list)
    for path in images(folder, left_out):
        name = str(path.relative_to(folder).with_suffix(""))
        name = unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
        ending = next((each for each in endings if name.endswith(each)), "")
        found[name.removesuffix(ending)].append(path)
    return found


def _files(folder: Path, left_out: Remarks, seen: set[str]) -> Iterator[Path]:
    """Yield the files under a folder, sorted. A folder that was `seen` by another name is not entered again."""
    seen.add(os.path.realpath(folder))
    for name in sorted(os.listdir(folder)):  # noqa: PTH208 - names take a quarter of the memory of paths
        path = folder / name
        mode = _mode(path)
        if is_foreign(path):
            left_out.append(Remark(path, "it is hidden or of a tool"))
        elif mode is None or stat.S_ISREG(mode):
            yield path
        elif not stat.S_ISDIR(mode):
            left_out.append(Remark(path, "it is not a regular file"))
        elif os.path.realpath(path) in seen:
            left_out.append(Remark(path, "it is a folder that is listed already by another name"))
        elif os.access(path, os.R_OK | os.X_OK):
            yield from _files(path, left_out, seen)
        else:
            left_out.append(Remark(path, "it is a folder that cannot be read"))


def _mode(path: Path) -> int | None:
    """Return the kind of a file, following links; None if there is none, or only its reader can say why."""
    try:
        return path.stat().st_mode
    except OSError:
        return None


def is_foreign(path: Path) -> bool:
    """Return whether a file or folder is hidden, or made by a file system or a tool."""
    return path.name.startswith(".") or path.name.lower() in TOOLS


def _not_an_image(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None if decoder.sniff(head) else "it is not an image"


def summary(remarks: Sequence[Remark], root: Path, shown: int) -> Iterator[str]:
    """Yield a line for each reason: the number of files, and at most `shown` of their names."""
    by_reason: dict[str, list[str]] = defaultdict(list)
    for each in remarks:
        by_reason[each.reason].append(text_file.printable(os.path.relpath(each.path, root)))
    for reason, names in by_reason.items():
        count = "1 file" if len(names) == 1 else f"{len(names)} files"
        more = f" and {len(names) - shown} more" if len(names) > shown else ""
        yield f"{count}, because {text_file.printable(reason)}: {', '.join(names[:shown])}{more}"
