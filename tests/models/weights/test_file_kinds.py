"""Recognising files by their first bytes: see also `tests/inputs/test_checkpoints.py`."""

import io
from pathlib import Path

import pytest
import torch

from service.models.weights import file_kinds
from tests.models.weights.checkpoints import pth, zipped


@pytest.mark.parametrize(("magic", "what"), file_kinds.FOREIGN)
def test_a_foreign_file_is_named_with_the_cure(magic: bytes, what: str) -> None:
    assert file_kinds.foreign(magic + bytes(300)) == what
    assert ";" in what


def test_unknown_bytes_may_be_a_checkpoint() -> None:
    assert file_kinds.foreign(bytes(range(128, 256)) * 4) is None


def test_a_zip_of_torch_is_told_from_another(tmp_path: Path) -> None:
    assert file_kinds.of_zip(io.BytesIO(pth({"a": torch.ones(1)}))) == "checkpoint"
    assert file_kinds.of_zip(io.BytesIO(zipped(a__txt=b"a"))) is None
    (tmp_path / "damaged").write_bytes(b"PK\x03\x04")
    assert file_kinds.of_zip(tmp_path / "damaged") is None
