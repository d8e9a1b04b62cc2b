"""Extract the checkpoint from a published file, which may be a zip around it (as PyTorch-Encoding publishes)."""

import shutil
import zipfile
import zlib
from pathlib import Path

from service.models.weights.checksums import IncompatibleWeightsError, WeightsError

MAX_CHECKPOINT_BYTES = 2 << 30
COPY_BYTES = 1 << 20


def unpack(file: Path, target: Path, max_bytes: int = MAX_CHECKPOINT_BYTES) -> Path:
    """Return `file` itself or, if it is a zip around a checkpoint, `target` with the extracted checkpoint.

    Names in the zip are never used as paths. Raises `IncompatibleWeightsError` for a damaged zip, and for a zip with no
    checkpoint, several, or one larger than `max_bytes`. Raises `WeightsError` if `target` cannot be written. After an
    error `target` does not exist.
    """
    if not zipfile.is_zipfile(file):
        return file
    try:
        with zipfile.ZipFile(file) as outer:
            if any(name.endswith("/data.pkl") for name in outer.namelist()):
                return file  # a checkpoint of `torch.save` is itself a zip
            _extract(outer, _only_checkpoint(outer, max_bytes), target)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        target.unlink(missing_ok=True)
        raise IncompatibleWeightsError(f"the zip cannot be read: {error}") from error
    except OSError as error:
        target.unlink(missing_ok=True)
        raise WeightsError(f"{target.parent} cannot be written: {error.strerror}") from error
    return target


def _only_checkpoint(outer: zipfile.ZipFile, max_bytes: int) -> zipfile.ZipInfo:
    found = [
        member
        for member in outer.infolist()
        if member.filename.endswith(".pth") and not member.filename.startswith("__MACOSX/")
    ]
    if len(found) != 1:
        raise IncompatibleWeightsError(f"the zip holds {len(found)} weight files (.pth), expected 1")
    if found[0].compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise IncompatibleWeightsError(
            f"the zip uses compression method {found[0].compress_type}; only deflate is supported"
        )
    if found[0].file_size > max_bytes:
        raise IncompatibleWeightsError(f"the zip holds {found[0].file_size:,} bytes; the limit is {max_bytes:,}")
    return found[0]


def _extract(outer: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member of the zip to `target`. zipfile stops at the checked size and verifies the CRC."""
    with outer.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, COPY_BYTES)
