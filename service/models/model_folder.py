"""Create a model's folder in the store so that a reader sees the whole model or none of it."""

import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from service.models import cards

RESERVED: Final = ("archives", "labels", "recipes")  # folders of the store that are not models
NAME_RULE: Final = "use lower-case letters, digits, dots, dashes, underscores"

# Hidden folders: of a model that is built, before a random part, and of one that is replaced, after its name.
BUILDING: Final = ".building-"
REPLACED: Final = ".replaced"

# A folder this young may not be locked yet by the process that builds it.
FRESH_S: Final = 60.0

# Of renameat2(2). The errors are those of NFS, and of kernels before 3.15.
AT_FDCWD, RENAME_EXCHANGE = -100, 2
WITHOUT_EXCHANGE: Final = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))


def is_name(text: str) -> bool:
    """Return whether a model may have this name."""
    return re.fullmatch(cards.NAME, text) is not None and text not in RESERVED


@contextmanager
def building(store: Path) -> Iterator[Path]:
    """Yield a hidden folder in the store. It is deleted at exit unless it was renamed.

    What processes that were killed have left is removed first, as `recover` does.
    """
    recover(store)
    folder = Path(tempfile.mkdtemp(prefix=BUILDING, dir=store))
    lock = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems lock no folders, and then `recover` deletes none
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        folder.chmod(0o755)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def install(built: Path, folder: Path) -> None:
    """Rename a built folder to its place. A folder that is there is replaced, and restored if that fails.

    Where the file system can, both change their names in one step, so that a model of this name is there at all times.
    The one before is then at `built`.
    """
    if not folder.exists():
        built.rename(folder)
        return
    if _exchange(built, folder):
        return
    old = folder.with_name(f".{folder.name}{REPLACED}")
    shutil.rmtree(old, ignore_errors=True)
    folder.rename(old)
    try:
        built.rename(folder)
    except BaseException:
        old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


def recover(store: Path) -> None:
    """Undo what a process that was killed has left: restore the model that it was about to replace, delete the rest.

    The folder of a process that still builds is locked, and stays.
    """
    for old in store.glob(f".*{REPLACED}"):
        place = old.with_name(old.name.removeprefix(".").removesuffix(REPLACED))
        if place.exists():
            shutil.rmtree(old, ignore_errors=True)
        else:
            old.rename(place)
    for folder in store.glob(f"{BUILDING}*"):
        _delete_if_left(folder)


def _delete_if_left(folder: Path) -> None:
    """Delete a folder of `building` whose process has ended."""
    try:
        lock = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if time.time() - os.fstat(lock).st_mtime > FRESH_S:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError:  # its process is alive, or the file system cannot say
        return
    finally:
        os.close(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step. Return False if the system cannot. Raises `OSError`."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in WITHOUT_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(one))
