"""The resident memory of a process."""

from pathlib import Path

import psutil
import pytest

from service.worker.resources.memory import resident_bytes


def test_it_is_what_the_kernel_says() -> None:
    assert resident_bytes() == pytest.approx(psutil.Process().memory_info().rss, rel=0.05)


@pytest.mark.parametrize("text", ["", "12", "a b c"])
def test_where_no_kernel_tells_nothing_is_known(tmp_path: Path, text: str) -> None:
    (tmp_path / "statm").write_text(text, encoding="ascii")
    assert resident_bytes(tmp_path / "statm") is None
    assert resident_bytes(tmp_path / "nowhere") is None
