"""Blocks of an arena: whose they are, that none is used twice at a time, and that a late reader notices a new one."""

import logging
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from service.gateway.uploads.arena import PAGE, Arena
from service.tasks import shared_image
from service.tasks.shared_image import STALE, Block, Pixels, ReadError, SharedImage, remove_abandoned
from tests.gateway.uploads.conftest import pixels, stored


def read_by_worker(folder: Path, image: SharedImage) -> Pixels:
    name, offset, generation, shape = shared_image.parse_reference(image.reference)
    descriptor = shared_image.open_arena(folder / name)
    try:
        return shared_image.read(descriptor, offset, generation, shape)
    finally:
        os.close(descriptor)


def test_an_image_in_a_block_is_read_by_its_reference(arena: Arena, tmp_path: Path) -> None:
    images = [stored(arena, value) for value in range(5)]

    for value, image in enumerate(images):
        assert np.array_equal(read_by_worker(tmp_path, image), pixels(value))
        assert np.array_equal(image.pixels(), pixels(value))


def test_a_full_arena_has_no_block_until_one_is_freed(arena: Arena) -> None:
    images = [stored(arena, value) for value in range(16)]

    assert arena.allocate(1) is None
    images[3].release()

    block = arena.allocate(PAGE - 8)
    assert block is not None
    assert block.offset == 3 * PAGE


def test_a_reader_that_is_late_notices_that_the_block_is_free_or_another_ones(arena: Arena, tmp_path: Path) -> None:
    first = stored(arena, 1)
    first.release()

    with pytest.raises(ReadError, match="another image") as freed:
        read_by_worker(tmp_path, first)
    second = stored(arena, 2)
    with pytest.raises(ReadError, match="another image") as reused:
        read_by_worker(tmp_path, first)
    with pytest.raises(ReadError, match="no longer"):
        first.pixels()

    assert {freed.value.code, reused.value.code} == {STALE}
    assert (second.reference["offset"], np.array_equal(second.pixels(), pixels(2))) == (0, True)


def test_a_reader_whose_block_became_a_part_of_a_larger_one_notices_it(arena: Arena, tmp_path: Path) -> None:
    images = [stored(arena, value) for value in range(4)]
    for image in images:
        image.release()
    block = arena.allocate(4 * PAGE - 8)
    assert block is not None
    assert shared_image.write(block, np.full((4 * PAGE - 8) // 3 * 3, 9, np.uint8).reshape(-1, 1, 3))

    for image in images:
        with pytest.raises(ReadError):
            read_by_worker(tmp_path, image)


def test_free_pages_join_again_in_whatever_order_they_are_freed(arena: Arena) -> None:
    for seed in range(30):
        images = [stored(arena, value) for value in range(16)]
        random.Random(seed).shuffle(images)
        for image in images:
            image.release()

        whole = arena.allocate(16 * PAGE - 8)
        assert whole is not None
        arena.free(whole)


def pages_of(block: Block) -> range:
    return range(block.offset // PAGE, -(-(block.offset + block.capacity + 8) // PAGE))


def test_no_page_is_in_two_blocks_whatever_is_allocated_and_freed(arena: Arena) -> None:
    chance = random.Random(1)
    held: list[Block] = []
    for _ in range(5000):
        block = arena.allocate(chance.randrange(1, 4 * PAGE))
        if block is None or chance.random() < 0.4:
            held += [] if block is None else [block]
            arena.free(held.pop(chance.randrange(len(held))))
        else:
            held.append(block)
        pages = [page for each in held for page in pages_of(each)]
        assert len(pages) == len(set(pages)) == arena.used_bytes // PAGE
        assert max(pages, default=0) < 16


def test_a_block_that_is_freed_twice_is_free_once(arena: Arena) -> None:
    image = stored(arena, 1)
    image.release()
    other = stored(arena, 2)
    image.release()
    del image

    assert np.array_equal(other.pixels(), pixels(2))


def test_an_image_that_nobody_holds_any_more_frees_its_block(arena: Arena) -> None:
    image = stored(arena, 1)
    assert arena.used_bytes == PAGE
    del image

    assert arena.used_bytes == 0


def test_an_arena_is_a_private_file_with_all_its_memory_and_is_removed_by_close(tmp_path: Path) -> None:
    arena = Arena(tmp_path, 16 * PAGE)
    arena.open()
    (path,) = tmp_path.iterdir()
    status = path.stat()
    image = stored(arena, 1)
    arena.close()

    assert (status.st_mode & 0o777, status.st_size) == (0o600, 16 * PAGE)
    assert status.st_blocks * 512 >= 16 * PAGE
    assert list(tmp_path.iterdir()) == []
    assert arena.allocate(1) is None
    with pytest.raises(ReadError):
        image.pixels()


@pytest.mark.parametrize("size", [0, PAGE - 1])
def test_an_arena_without_a_page_makes_no_file(size: int, tmp_path: Path) -> None:
    arena = Arena(tmp_path, size)
    arena.open()

    assert arena.allocate(1) is None
    assert list(tmp_path.iterdir()) == []


def test_in_a_full_file_system_there_are_no_blocks_no_file_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    system = os.statvfs(shared_image.FOLDER)
    before = set(shared_image.FOLDER.iterdir())
    arena = Arena(shared_image.FOLDER, system.f_frsize * system.f_blocks + PAGE)
    with caplog.at_level(logging.WARNING):
        arena.open()

    assert arena.allocate(1) is None
    assert set(shared_image.FOLDER.iterdir()) <= before
    assert "No space left on device" in caplog.text
    assert "images are sent to workers as bytes" in caplog.text


def test_without_the_folder_there_are_no_blocks_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    arena = Arena(tmp_path / "absent", 16 * PAGE)
    with caplog.at_level(logging.WARNING):
        arena.open()

    assert arena.allocate(1) is None
    assert "No such file" in caplog.text


def test_the_file_of_an_owner_that_was_killed_is_removed_and_that_of_a_living_one_is_not(
    arena: Arena, tmp_path: Path
) -> None:
    code = (
        "import sys, time; from pathlib import Path; from service.gateway.uploads.arena import Arena;"
        f"arena = Arena(Path(sys.argv[1]), {16 * PAGE}); arena.open(); print(flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        other.stdout.readline()
        assert remove_abandoned(tmp_path) == []
        assert len(list(tmp_path.iterdir())) == 2
        other.send_signal(signal.SIGKILL)

    assert len(remove_abandoned(tmp_path)) == 1
    assert np.array_equal(stored(arena, 4).pixels(), pixels(4))
    assert len(list(tmp_path.iterdir())) == 1


def test_what_is_no_arena_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "resnest-arena-folder").mkdir()
    (tmp_path / "resnest-arena-link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere").touch()

    assert remove_abandoned(tmp_path) == []
    assert len(list(tmp_path.iterdir())) == 3


def test_the_use_is_reported_whenever_it_changes(tmp_path: Path) -> None:
    reported: list[int] = []
    arena = Arena(tmp_path, 4 * PAGE, reported.append)
    arena.open()
    first, second = stored(arena, 1), stored(arena, 2)
    first.release()
    first.release()
    arena.close()

    assert reported == [PAGE, 2 * PAGE, PAGE, 0]
    second.release()
