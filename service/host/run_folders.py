"""Folders of running processes, and what crashed ones left of theirs."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX = "resnest-"
LOCK = "in-use"  # held by the process that a folder belongs to, and by nobody when that has ended, however it ended
LONGEST_PARENT = 60  # a Unix socket's path has at most 107 bytes; ours add 40 to the folder they are in


@contextmanager
def short_folder(parent: str) -> Iterator[Path]:
    """A folder in `parent`, or in /tmp where its path would leave no room for Unix sockets; removed at the end.

    Those of earlier processes that have ended without doing so are removed first.
    """
    short = parent if len(parent) <= LONGEST_PARENT else "/tmp"  # noqa: S108 - mkdtemp below makes it ours alone
    remove_abandoned(Path(short))
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=short))
    try:
        with (folder / f"{LOCK}.new").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            (folder / f"{LOCK}.new").rename(folder / LOCK)  # never seen without its holder
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path) -> list[Path]:
    """Remove this user's folders whose processes have ended, and return them.

    A folder without a lock, which may be about to get it, and what is no folder, a link for one, are left alone.
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
