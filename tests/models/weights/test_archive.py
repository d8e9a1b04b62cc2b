"""Checkpoints in zips, and zips that are damaged or hostile."""

import struct
import zipfile
from pathlib import Path

import pytest
import torch

from service.models.weights.archive import unpack
from service.models.weights.checksums import WeightsError
from tests.models.weights.checkpoints import pth, zipped


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "room"
    folder.mkdir()
    return folder / "checkpoint"


def write(folder: Path, data: bytes) -> Path:
    path = folder / "download"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("data", [b"weights", b"", pth({"a": torch.ones(2)}), pth({"a": torch.ones(2)}, legacy=True)])
def test_what_is_no_zip_around_a_checkpoint_is_the_checkpoint(tmp_path: Path, into: Path, data: bytes) -> None:
    file = write(tmp_path, data)
    assert unpack(file, into) == file
    assert not into.exists()


def test_the_one_checkpoint_of_a_zip_is_taken_out(tmp_path: Path, into: Path) -> None:
    file = write(tmp_path, zipped(readme__txt=b"hello", model__pth=b"weights"))
    assert unpack(file, into) == into
    assert into.read_bytes() == b"weights"


@pytest.mark.parametrize("name", ["../../evil.pth", "/evil.pth", "a/../../evil.pth", "..\\evil.pth", "C:evil.pth"])
def test_a_name_in_a_zip_leads_nowhere_else(tmp_path: Path, into: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "download", "w") as outer:
        outer.writestr(name, b"weights")
    assert unpack(tmp_path / "download", into) == into
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["checkpoint", "download", "room"]


def test_what_a_mac_adds_to_a_zip_is_no_checkpoint(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "download", "w") as outer:
        outer.writestr("model.pth", b"weights")
        outer.writestr("__MACOSX/._model.pth", b"colours")
    assert unpack(tmp_path / "download", into).read_bytes() == b"weights"


@pytest.mark.parametrize(("members", "found"), [({"readme__txt": b""}, 0), ({"a__pth": b"a", "b__pth": b"b"}, 2)])
def test_a_zip_with_no_checkpoint_or_several_is_refused(
    tmp_path: Path, into: Path, members: dict[str, bytes], found: int
) -> None:
    with pytest.raises(
        WeightsError, match=rf"holds {found} checkpoints, expected 1: {', '.join(sorted(members)).replace('__', '.')}"
    ):
        unpack(write(tmp_path, zipped(**members)), into)
    assert not into.exists()


def test_a_zip_that_unpacks_to_too_much_is_refused(tmp_path: Path, into: Path) -> None:
    with pytest.raises(WeightsError, match="holds 100,000 bytes; the limit is 99,999"):
        unpack(write(tmp_path, zipped(model__pth=bytes(100_000))), into, max_bytes=99_999)
    assert not into.exists()


def test_a_zip_that_lies_about_its_size_is_refused(tmp_path: Path, into: Path) -> None:
    data = zipped(model__pth=bytes(100_000))
    lie = data.replace(struct.pack("<L", 100_000), struct.pack("<L", 10))
    with pytest.raises(WeightsError, match="cannot be read"):
        unpack(write(tmp_path, lie), into)
    assert not into.exists()


def test_a_damaged_zip_is_refused(tmp_path: Path, into: Path) -> None:
    data = bytearray(zipped(model__pth=b"weights" * 100))
    data[45] ^= 0xFF
    with pytest.raises(WeightsError, match="the zip cannot be read"):
        unpack(write(tmp_path, bytes(data)), into)
    assert not into.exists()


def test_a_zip_under_a_password_is_refused(tmp_path: Path, into: Path) -> None:
    data = zipped(model__pth=b"weights")
    locked = data.replace(b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01")
    with pytest.raises(WeightsError, match="the zip cannot be read"):
        unpack(write(tmp_path, locked), into)
    assert not into.exists()


def test_a_zip_of_another_compression_is_refused(tmp_path: Path, into: Path) -> None:
    with zipfile.ZipFile(tmp_path / "download", "w", zipfile.ZIP_LZMA) as outer:
        outer.writestr("model.pth", b"weights")
    with pytest.raises(WeightsError, match="only deflate is supported"):
        unpack(tmp_path / "download", into)


@pytest.mark.parametrize("place", range(40, 700, 60))
def test_a_zip_with_a_wrong_byte_anywhere_is_refused_or_holds_the_right_bytes(
    tmp_path: Path, into: Path, place: int
) -> None:
    content = bytes(range(256)) * 8
    data = bytearray(zipped(model__pth=content))
    data[place % len(data)] ^= 0x55
    file = write(tmp_path, bytes(data))
    try:
        unpacked = unpack(file, into)
    except WeightsError:
        assert not into.exists()
    else:
        assert unpacked == file or unpacked.read_bytes() == content
