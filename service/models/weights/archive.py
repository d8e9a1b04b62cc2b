"""The checkpoint in a published file, which may be a zip that holds one (PyTorch-Encoding's form)."""

import shutil
import zipfile
import zlib
from pathlib import Path

from service.models.weights.checksums import UnfitError, WeightsError

MAX_CHECKPOINT_BYTES = 2 << 30
COPY_BYTES = 1 << 20


def unpack(file: Path, into: Path, max_bytes: int = MAX_CHECKPOINT_BYTES) -> Path:
    """`file` itself, or, where it is a zip around a checkpoint, the checkpoint, written to `into`.

    No name in the zip is used as a path. Raises `UnfitError` for a damaged zip, and one that holds no checkpoint,
    several, or one larger than `max_bytes`, and `WeightsError` where `into` cannot be written; it is not there then.
    """
    if not zipfile.is_zipfile(file):
        return file
    try:
        with zipfile.ZipFile(file) as outer:
            if any(name.endswith("/data.pkl") for name in outer.namelist()):
                return file  # torch's own format is a zip too
            _extract(outer, _only_checkpoint(outer, max_bytes), into)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        into.unlink(missing_ok=True)
        raise UnfitError(f"the zip cannot be read: {error}") from error
    except OSError as error:
        into.unlink(missing_ok=True)
        raise WeightsError(f"{into.parent} cannot be written: {error.strerror}") from error
    return into


def _only_checkpoint(outer: zipfile.ZipFile, max_bytes: int) -> zipfile.ZipInfo:
    found = [
        member
        for member in outer.infolist()
        if member.filename.endswith(".pth") and not member.filename.startswith("__MACOSX/")
    ]
    if len(found) != 1:
        raise UnfitError(f"the zip holds {len(found)} files of weights (.pth), and one is expected")
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnfitError(f"the zip is compressed by method {found[0].compress_type}, and only deflate is read")
    if found[0].file_size > max_bytes:
        raise UnfitError(f"the zip holds {found[0].file_size:,} bytes, and {max_bytes:,} are allowed")
    return found[0]


def _extract(outer: zipfile.ZipFile, member: zipfile.ZipInfo, into: Path) -> None:
    """zipfile stops at the size that was checked, and holds the bytes against their CRC."""
    with outer.open(member) as source, into.open("wb") as target:
        shutil.copyfileobj(source, target, COPY_BYTES)
