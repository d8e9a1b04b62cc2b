"""The reload of a changed file. `test_callers` and `test_versions` test it with keys and traffic shares."""

from pathlib import Path

import pytest

from service.config.watched_file import WatchedFile
from tests.gateway.conftest import until
from tests.gateway.fixtures.running_tasks import running_task

pytestmark = pytest.mark.anyio


def number(file: Path) -> int:
    return int(file.read_text(encoding="utf-8"))


async def test_what_cannot_be_read_leaves_what_was_and_says_why_until_it_is_mended(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("1", encoding="utf-8")
    stale: list[int] = []
    watched = WatchedFile(file, number, stale.append, reload_s=0.01)

    assert (watched.value, watched.mistake) == (1, None)
    async with running_task(watched.watch()):
        file.write_text("two", encoding="utf-8")
        await until(lambda: stale == [1], 60)
        assert watched.value == 1
        assert "two" in str(watched.mistake)

        file.write_text("3", encoding="utf-8")
        await until(lambda: stale == [1, 0], 60)
        assert (watched.value, watched.mistake) == (3, None)


async def test_a_file_that_is_no_good_at_the_start_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "number"
    file.write_text("one", encoding="utf-8")

    with pytest.raises(ValueError, match="one"):
        WatchedFile(file, number, int)
