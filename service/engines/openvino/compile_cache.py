"""Compiled models on disk, so that a worker's start need not make them again: each is whole and sound, or not there."""

import hashlib
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from service.models import files

log = logging.getLogger("service.worker")

FOLDER = "resnest-service"
SUFFIX = ".compiled"
KEPT = 4  # files of a model: those of other versions, precisions and machines that share the folder go with time
DIGEST = hashlib.sha256().digest_size


def default_folder(environment: Mapping[str, str]) -> Path | None:
    """Where a user's caches belong (XDG Base Directory Specification), or None for a user without a home."""
    stated = Path(environment.get("XDG_CACHE_HOME", ""))
    if stated.is_absolute():
        return stated / FOLDER
    try:
        return Path.home() / ".cache" / FOLDER
    except RuntimeError:
        return None


class Cache:
    """Files by model and key. Many processes may use a folder at once; without a folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def read(self, model: str, key: str) -> bytearray | None:
        """What was kept, or None where nothing was, or not all of it can be read as it was written."""
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
            log.warning("leaving out a damaged file: %s", path)
            return None
        return content

    def write(self, model: str, key: str, content: bytes | memoryview) -> None:
        """Keep this, in place of the model's oldest; where that cannot be, say so in one line and go on."""
        if self._folder is None:
            return
        path = self._path(self._folder, model, key)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            files.write(path, hashlib.sha256(content).digest(), content)
            _thin_out(path.parent)
        except OSError as error:
            log.warning("the next start will be as slow as this one: %s cannot be written: %s", path, error.strerror)

    @classmethod
    def of_this_user(cls) -> "Cache":
        """The cache in the user's own folder."""
        return cls(default_folder(os.environ))

    @staticmethod
    def _path(folder: Path, model: str, key: str) -> Path:
        return folder / model / f"{key}{SUFFIX}"


def _thin_out(folder: Path) -> None:
    kept = sorted(folder.glob(f"*{SUFFIX}"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in kept[KEPT:]:
        path.unlink(missing_ok=True)
