"""Recognise by its first bytes whether a file can be a checkpoint, and name what it is otherwise."""

import zipfile
from pathlib import Path
from typing import IO, Final

HEAD_BYTES: Final = 512
ZIP: Final = b"PK\x03\x04"
PICKLE: Final = b"\x80"  # the opcode PROTO, with which `torch.save` begins
LFS_POINTER: Final = b"version https://git-lfs"

# (first bytes, what the file is and the cure)
FOREIGN: Final = (
    (LFS_POINTER, "a pointer of Git LFS; get the file itself with `git lfs pull`"),
    (b"\x89HDF", "an HDF5 file, as Keras writes it; only PyTorch checkpoints and safetensors are read"),
    (b"GGUF", "a GGUF file; only PyTorch checkpoints and safetensors are read"),
    (b"\x93NUMPY", "an array of NumPy; only PyTorch checkpoints and safetensors are read"),
    (b"\x1f\x8b", "an archive of gzip; extract it first"),
    (b"7z\xbc\xaf", "an archive of 7-Zip; extract it first"),
    (b"Rar!", "a RAR archive; extract it first"),
    (b"\xfd7zXZ", "an archive of xz; extract it first"),
    (b"BZh", "an archive of bzip2; extract it first"),
)


def is_safetensors(head: bytes) -> bool:
    """Return whether a file begins like safetensors: 8 bytes with the length of a JSON header, then the header."""
    return head[8:9] == b"{"


def is_pickle(head: bytes) -> bool:
    """Return whether a file begins like a pickle, which checkpoints of PyTorch until 1.5 are."""
    return head.startswith(PICKLE) and head[1:2] <= b"\x05"


def foreign(head: bytes) -> str | None:
    """Return what a file with these first `HEAD_BYTES` is, with the cure, or None if it can be a checkpoint."""
    if not head:
        return "an empty file"
    if is_safetensors(head) or is_pickle(head) or head.startswith(ZIP):
        return None
    by_magic = next((what for magic, what in FOREIGN if head.startswith(magic)), None)
    return by_magic or _by_structure(head) or _text(head)


def _by_structure(head: bytes) -> str | None:
    if head[257:262] == b"ustar":
        return "a tar archive; extract it first"
    if head.lstrip()[:1] == b"<":
        return "a web page; the download may have needed a login or a confirmation"
    if head[:1] == b"\x08" and (b"pytorch" in head or b"onnx" in head):
        return "an ONNX network; save the weights of its PyTorch module with `torch.save(model.state_dict(), file)`"
    return None


def _text(head: bytes) -> str | None:
    try:
        text = head[: HEAD_BYTES - 4].decode("utf-8")
    except UnicodeDecodeError:
        return None
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    return f"text, which begins with {text.split(chr(10))[0].strip()[:60]!r}"


def of_zip(file: Path | IO[bytes]) -> str | None:
    """Return what a zip is: "checkpoint", "TorchScript", or None for another or a damaged one."""
    try:
        with zipfile.ZipFile(file) as outer:
            names = outer.namelist()
    except (zipfile.BadZipFile, OSError, EOFError):
        return None
    if not any(name.endswith("/data.pkl") for name in names):
        return None
    return "TorchScript" if any(name.endswith("/constants.pkl") for name in names) else "checkpoint"
