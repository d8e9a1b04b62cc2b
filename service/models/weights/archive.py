"""Extract the checkpoint from a file, which may be a zip around it (as PyTorch-Encoding and file shares send it)."""

import shutil
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from service.models.weights import file_kinds
from service.models.weights.checksums import IncompatibleWeightsError, WeightsError

MAX_CHECKPOINT_BYTES = 2 << 30
COPY_BYTES = 1 << 20
SHOWN_MEMBERS = 10  # in an error message
SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".bin", ".tar", ".pkl")
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def unpack(file: Path, target: Path, max_bytes: int = MAX_CHECKPOINT_BYTES) -> Path:
    """Return `file` itself or, if it is a zip around a checkpoint, `target` with the extracted checkpoint.

    The member is recognised by its content, whatever its name. Names are never used as paths.

    Raises `IncompatibleWeightsError` for a damaged zip, and for a zip with no checkpoint, several, or one larger than
    `max_bytes`. Raises `WeightsError` if `target` cannot be written. After an error `target` does not exist.
    """
    if not zipfile.is_zipfile(file) or file_kinds.of_zip(file):
        return file  # a checkpoint of `torch.save` is itself a zip
    try:
        with zipfile.ZipFile(file) as outer:
            _extract(outer, _only_checkpoint(outer, max_bytes), target)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, EOFError) as error:
        target.unlink(missing_ok=True)
        raise IncompatibleWeightsError(f"the zip cannot be read: {error}") from error
    except OSError as error:
        target.unlink(missing_ok=True)
        raise WeightsError(f"{target.parent} cannot be written: {error.strerror}") from error
    return target


def _only_checkpoint(outer: zipfile.ZipFile, max_bytes: int) -> zipfile.ZipInfo:
    files = [each for each in outer.infolist() if not each.is_dir() and not each.filename.startswith("__MACOSX/")]
    named = [each for each in files if PurePosixPath(each.filename).suffix.lower() in SUFFIXES]
    found = [each for each in files if _is_checkpoint(outer, each, max_bytes)] or named
    if len(found) != 1:
        names = [each.filename for each in found or files]
        more = ", ..." if len(names) > SHOWN_MEMBERS else ""
        listed = f": {', '.join(names[:SHOWN_MEMBERS])}{more}" if names else ""
        what = "; extract the one that you want" if found else ""
        raise IncompatibleWeightsError(f"the zip holds {len(found)} checkpoints, expected 1{listed}{what}")
    _check_member(found[0], max_bytes)
    return found[0]


def _check_member(member: zipfile.ZipInfo, max_bytes: int) -> None:
    if member.compress_type not in COMPRESSIONS:
        raise IncompatibleWeightsError(
            f"the zip uses compression method {member.compress_type}; only deflate is supported"
        )
    if member.file_size > max_bytes:
        raise IncompatibleWeightsError(f"the zip holds {member.file_size:,} bytes; the limit is {max_bytes:,}")


def _is_checkpoint(outer: zipfile.ZipFile, member: zipfile.ZipInfo, max_bytes: int) -> bool:
    """Return whether a member begins like a checkpoint. Zips without a checkpoint's suffix are read to their end."""
    if member.compress_type not in COMPRESSIONS or member.file_size > max_bytes:
        return False
    with outer.open(member) as opened:
        head = opened.read(file_kinds.HEAD_BYTES)
        if not head.startswith(file_kinds.ZIP):
            return file_kinds.is_safetensors(head) or file_kinds.is_pickle(head)
    if PurePosixPath(member.filename).suffix.lower() in SUFFIXES:
        return True
    with outer.open(member) as opened:
        return file_kinds.of_zip(opened) is not None


def _extract(outer: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    """Write a member of the zip to `target`. zipfile stops at the checked size and verifies the CRC."""
    with outer.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file, COPY_BYTES)
