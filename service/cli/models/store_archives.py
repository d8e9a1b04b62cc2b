"""Install folders of a model store from tar archives, each verified against the SHA-256 that a list states.

The list has the format of `sha256sum`. Nothing of an archive is read before its SHA-256 is verified.
"""

import lzma
import re
import shutil
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, Final, NamedTuple, cast

from service.models import cards, model_folder, model_order, text_file
from service.models.cards import LABEL_SETS, CardError
from service.models.text_file import TextError
from service.models.weights import checksums, download
from service.models.weights.checksums import WeightsError
from service.models.weights.download import DownloadError, DownloadRules, Progress, UnavailableError

LINE: Final = re.compile(r"([0-9a-f]{64}) [ *]([A-Za-z0-9][\w.+-]*)", re.ASCII)
INSTALLED: Final = ".fetched"  # in the store: a file for each installed archive, by its SHA-256, with what it brought
DAMAGE: Final = (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError)
RULES: Final = DownloadRules(max_bytes=16 << 30, copies=2)  # copies: the archive, and the files in it
COPY_BYTES: Final = 1 << 20


class ListedArchive(NamedTuple):
    """A line of the list: the file name of an archive, and its SHA-256 in hexadecimal."""

    name: str
    sha256: str


def read_list(path: Path) -> list[ListedArchive]:
    """Return the archives of a list in their order. Raises `WeightsError` for another format, or without any."""
    try:
        lines = text_file.read(path).splitlines()
    except (OSError, TextError) as error:
        raise WeightsError(f"{path} cannot be read: {error}") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        parts = LINE.fullmatch(line.rstrip())
        if parts is None:
            raise WeightsError(
                f"{path}, line {number}: it is not a SHA-256, two spaces and a file name, as `sha256sum` writes it"
            )
        found.append(ListedArchive(parts[2], parts[1]))
    if not found:
        raise WeightsError(f"{path} lists no archive; write it with `sha256sum *.tar`")
    return found


def fetch(
    store: Path, address: str, archive: ListedArchive, progress: Progress, rules: DownloadRules = RULES
) -> list[str]:
    """Install an archive of the folder at `address` into the store. Return the names of its folders.

    Return none if the archive is installed already. A model that is there is replaced in one step.

    Raises `WeightsError` if the archive cannot be downloaded or has another SHA-256, if a card cannot be used, or if
    weights differ from their card. The store then is as it was.
    """
    mark = store / INSTALLED / archive.sha256
    if _is_installed(mark, store):
        return []
    part = store / f".{archive.sha256}.part"
    url = f"{address.rstrip('/')}/{archive.name}"
    try:
        download.fetch([url], part, partial(_accept, archive), rules, progress)
    except UnavailableError as error:
        raise WeightsError(f"{archive.name} is not installed: {error}") from error
    try:
        with model_folder.building(store) as folder:
            _extract(archive, part, folder)
            names = _checked(archive, folder)
            brought = [name for name in names if name != LABEL_SETS]
            brought += [f"{LABEL_SETS}/{path.name}" for path in _label_sets(folder)]
            _forget(brought, folder, store)
            _install(folder, names, store)
    finally:
        part.unlink(missing_ok=True)
    mark.parent.mkdir(exist_ok=True)
    mark.write_text("\n".join(brought), encoding="utf-8")
    return names


def _is_installed(mark: Path, store: Path) -> bool:
    return mark.is_file() and all((store / name).exists() for name in _names(mark))


def _names(mark: Path) -> list[str]:
    return mark.read_text(encoding="utf-8").splitlines()


def _forget(brought: Sequence[str], folder: Path, store: Path) -> None:
    """Remove the marks of archives of which a model, or a label set with other content, is about to be replaced."""
    replaced = {name for name in brought if (folder / name).is_dir() or not _is_same_file(folder / name, store / name)}
    for mark in (store / INSTALLED).glob("*"):
        if {*_names(mark)} & replaced:
            mark.unlink()


def _is_same_file(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _accept(archive: ListedArchive, part: Path) -> None:
    found = checksums.sha256(part)
    if found != archive.sha256:
        raise DownloadError(f"sent a file with the SHA-256 {found}, but {archive.sha256} is listed", final=True)


def _extract(archive: ListedArchive, file: Path, folder: Path) -> None:
    """Write the files of an archive into a folder, with the permissions of new files. Raises `WeightsError`.

    Names are checked here: the filters of `tarfile` are not in every Python 3.11.
    """
    try:
        with tarfile.open(file) as opened:
            for member in opened:
                path = folder / _inside(archive, member)
                if member.isdir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as written:
                    shutil.copyfileobj(cast("IO[bytes]", opened.extractfile(member)), written, COPY_BYTES)
    except DAMAGE as error:
        raise WeightsError(f"{archive.name} is not a tar archive, or it is damaged: {error}") from error


def _inside(archive: ListedArchive, member: tarfile.TarInfo) -> PurePosixPath:
    """Return the path of a member below the store. Raises `WeightsError` for links, devices and paths outside."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or not member.name.isprintable():
        raise WeightsError(f"{archive.name} holds {text_file.printable(member.name)!r}, a path outside of the store")
    if not (member.isfile() or member.isdir()):
        raise WeightsError(f"{archive.name} holds {member.name}, which is neither a file nor a folder")
    return path


def _checked(archive: ListedArchive, folder: Path) -> list[str]:
    """Return the names of the folders of an archive. Raises `WeightsError` for a model that no worker would serve."""
    names = sorted(path.name for path in folder.iterdir())
    strange = [name for name in names if not _is_store_folder(folder / name)]
    if strange or not names:
        what = f"holds {', '.join(strange[:4])}" if strange else "is empty"
        raise WeightsError(
            f"{archive.name} {what}; an archive has folders of models, each with a card.toml, and labels"
        )
    for name in names:
        if name != LABEL_SETS:
            _check_model(archive, folder / name)
    return names


def _check_model(archive: ListedArchive, folder: Path) -> None:
    try:
        checksums.verify(cards.parse(folder))
    except CardError as error:
        raise WeightsError(f"{archive.name}: {error}") from error


def _is_store_folder(path: Path) -> bool:
    if path.name == LABEL_SETS:
        return path.is_dir()
    return model_folder.is_name(path.name.partition("@")[0]) and (path / "card.toml").is_file()


def _install(folder: Path, names: Sequence[str], store: Path) -> None:
    """Move checked folders into the store. Label sets go first, because cards need them."""
    model_order.record(store)
    for path in _label_sets(folder):
        (store / LABEL_SETS).mkdir(exist_ok=True)
        path.replace(store / LABEL_SETS / path.name)
    for name in names:
        if name != LABEL_SETS:
            model_folder.install(folder / name, store / name)
    model_order.record(store)


def _label_sets(folder: Path) -> Iterator[Path]:
    yield from (path for path in (folder / LABEL_SETS).glob("*") if path.is_file())
