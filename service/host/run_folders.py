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
# In characters. A Unix socket's path has at most 107 bytes, and the names inside the folder need 40 of them.
LONGEST_PARENT = 60


@contextmanager
def short_folder(parent: str) -> Iterator[Path]:
    """Yield a new folder in `parent`, or in /tmp if its path is too long for Unix sockets. It is removed at the end.

    Folders that earlier processes did not remove are removed first.
    """
    short = parent if len(parent) <= LONGEST_PARENT else "/tmp"  # noqa: S108 - mkdtemp below makes it private
    remove_abandoned(Path(short))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short))
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{LOCK}.new").rename(folder / LOCK)  # so it never exists under its name unlocked
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


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
