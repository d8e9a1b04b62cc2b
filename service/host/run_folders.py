"""Makes the folders of running processes, and removes those that crashed processes left."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "resnest-"
LOCK = "in-use"  # locked by the folder's process; the kernel unlocks it when that process ends
# In bytes. A Unix socket's path has at most 107 bytes. The longest name inside is that of multiprocessing's fork
# server: 49 bytes with the name of the folder.
LONGEST_PARENT = 57


@contextmanager
def short_folder(parent: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, or in /tmp if its path is too long for Unix sockets. It is removed at the end.

    Folders that earlier processes did not remove are removed first.
    """
    short = parent if len(os.fsencode(parent)) <= LONGEST_PARENT else "/tmp"  # noqa: S108 - mkdtemp makes it private
    with locked_folder(Path(short)) as folder:
        yield folder


@contextmanager
def locked_folder(parent: Path) -> Iterator[Path]:
    """Yield a new folder in `parent`, as `short_folder` does, whatever the length of its path."""
    remove_abandoned(parent)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{LOCK}.new").rename(folder / LOCK)  # so it never exists under its name unlocked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def claim_folder(folder: Path) -> Path:
    """Return `folder`, or another one beside it if a living process has it, for this process and what it becomes.

    The lock outlives `exec`. It ends with the process.
    """
    if _lock(folder):
        return folder
    other = Path(tempfile.mkdtemp(prefix=f"{folder.name}-", dir=folder.parent))
    _lock(other)
    return other


def has_owner(folder: Path) -> bool:
    """Return whether a living process has claimed this folder."""
    try:
        with (folder / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _lock(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return False
    os.set_inheritable(lock, True)  # noqa: FBT003 - the name says it
    return True


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove this user's folders whose processes have ended, and return them.

    A folder without a lock file is left alone, because it may be about to get one. So are links to folders.
    """
    return [folder for folder in sorted(parent.glob(f"{PREFIX}*")) if _abandoned(folder) and _remove(folder)]


def _abandoned(folder: Path) -> bool:
    try:
        if folder.is_symlink() or folder.stat().st_uid != os.getuid():
            return False
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(lock)
    return True


def _remove(folder: Path) -> bool:
    shutil.rmtree(folder, ignore_errors=True)
    return not folder.exists()
