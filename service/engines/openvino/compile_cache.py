"""A cache of compiled models on disk, so that a worker starts faster. Files are written atomically and checked."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from service.models import atomic_write

log = logging.getLogger("service.worker")

FOLDER = "resnest-service"
SUFFIX = ".compiled"
MAX_FILES = 4  # per model; older files, of other versions, precisions or machines, are deleted
DIGEST = hashlib.sha256().digest_size


def default_folder(environment: Mapping[str, str]) -> Path | None:
    """Return the user's cache folder (XDG Base Directory Specification), or None for a user without a home."""
    stated = Path(environment.get("XDG_CACHE_HOME", ""))
    if stated.is_absolute():
        return stated / FOLDER
    try:
        return Path.home() / ".cache" / FOLDER
    except RuntimeError:
        return None


class CompileCache:
    """Files by model and key. Several processes may share the folder. Without a folder nothing is cached."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, model: str, key: str) -> bytearray | None:
        """Return the cached content, or None if there is none or its checksum is wrong."""
        if self._folder is None:
            return None
        path = self._path(self._folder, model, key)
        try:
            with path.open("rb") as file:
                content = bytearray(max(0, os.fstat(file.fileno()).st_size - DIGEST))
                digest = file.read(DIGEST)
                file.readinto(content)
        except OSError:
            return None
        if hashlib.sha256(content).digest() != digest:
            log.warning("ignoring a damaged file: %s", path)
            return None
        return content

    def write(self, model: str, key: str, content: bytes | memoryview) -> None:
        """Cache the content and delete the model's oldest files. A failure is only logged."""
        if self._folder is None:
            return
        path = self._path(self._folder, model, key)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            atomic_write.write(path, hashlib.sha256(content).digest(), content)
            _delete_oldest(path.parent)
        except OSError as error:
            log.warning("the next start will be as slow as this one: %s cannot be written: %s", path, error.strerror)

    @classmethod
    def of_this_user(cls) -> "CompileCache":
        """Return the cache in the cache folder of the user."""
        return cls(default_folder(os.environ))

    @staticmethod
    def _path(folder: Path, model: str, key: str) -> Path:
        return folder / model / f"{key}{SUFFIX}"


def _delete_oldest(folder: Path) -> None:
    files = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in files[MAX_FILES:]:
        path.unlink(missing_ok=True)
