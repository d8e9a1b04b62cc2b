"""The compile cache returns content as it was written, or nothing."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.engines.openvino import compile_cache
from service.engines.openvino.compile_cache import CompileCache


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_what_was_kept_comes_back(tmp_path: Path) -> None:
    CompileCache(tmp_path / "new").write("model", "key", b"content")
    assert CompileCache(tmp_path / "new").read("model", "key") == bytearray(b"content")
    assert CompileCache(tmp_path / "new").read("model", "other") is None
    assert CompileCache(tmp_path / "new").read("other", "key") is None


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 100])
def test_a_damaged_file_is_left_out_and_said(tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture) -> None:
    cache = CompileCache(tmp_path)
    cache.write("model", "key", b"content")
    (path,) = files(tmp_path)
    path.write_bytes(damage)
    assert cache.read("model", "key") is None
    assert f"damaged file: {path}" in caplog.text


def test_one_changed_byte_is_damage(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    cache.write("model", "key", b"content")
    (path,) = files(tmp_path)
    path.write_bytes(path.read_bytes()[:-1] + b"T")
    assert cache.read("model", "key") is None


def test_a_folder_that_cannot_be_written_costs_a_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").touch()
    cache = CompileCache(tmp_path / "file" / "below")
    cache.write("model", "key", b"content")
    assert "the next start will be as slow as this one" in caplog.text
    assert cache.read("model", "key") is None


def test_without_a_folder_nothing_is_kept() -> None:
    cache = CompileCache(None)
    cache.write("model", "key", b"content")
    assert cache.read("model", "key") is None


def test_a_model_keeps_its_newest_files_only(tmp_path: Path) -> None:
    cache = CompileCache(tmp_path)
    cache.write("other", "key", b"content")
    for number in range(compile_cache.MAX_FILES + 2):
        cache.write("model", str(number), b"content")
        path = next(tmp_path.glob(f"model/{number}*"))
        os.utime(path, (1e9 + number, 1e9 + number))
    assert [number for number in range(compile_cache.MAX_FILES + 2) if cache.read("model", str(number))] == [2, 3, 4, 5]
    assert cache.read("other", "key")


def test_readers_among_writers_find_all_or_nothing(tmp_path: Path) -> None:
    """Two processes write the same file repeatedly while this one reads it."""
    program = (
        "import sys; from pathlib import Path; from service.engines.openvino.compile_cache import CompileCache\n"
        "for _ in range(20): CompileCache(Path(sys.argv[1])).write('model', 'key', sys.argv[2].encode() * 2**20)"
    )
    writers = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), letter]) for letter in "ab"]
    try:
        seen = set()
        deadline = time.monotonic() + 120
        while any(writer.poll() is None for writer in writers) and time.monotonic() < deadline:
            content = CompileCache(tmp_path).read("model", "key")
            if content is not None:
                assert len(content) == 2**20
                assert content.count(content[0]) == 2**20
                seen.add(content[0])
            time.sleep(0.001)
        assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert seen <= set(b"ab")
    assert seen
    assert len(files(tmp_path)) == 1


@pytest.mark.parametrize("stated", ["", "relative/path"])
def test_it_is_where_a_users_caches_belong(stated: str, tmp_path: Path) -> None:
    assert compile_cache.default_folder({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "resnest-service"
    assert compile_cache.default_folder({"XDG_CACHE_HOME": stated}) == Path.home() / ".cache" / "resnest-service"
