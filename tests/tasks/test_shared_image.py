"""Images in shared memory: a reader gets the pixels that the reference means, or an error."""

import os
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.gateway.uploads.arena import Arena
from service.tasks import shared_image
from service.tasks.shared_image import FREE, GENERATION, PREFIX, STALE, UNREADABLE, Block, ReadError

SHAPE = (64, 48, 3)
CAPACITY = shared_image.size_of(SHAPE)
PAGE = 4096


def block_in(folder: Path, generation: int = 7, offset: int = 0) -> Block:
    path = folder / f"{PREFIX}test"
    with path.open("ab") as arena:
        arena.truncate(64 * PAGE)
    return Block(str(path), offset, CAPACITY, generation)


def read(block: Block, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    descriptor = shared_image.open_arena(Path(block.arena))
    try:
        return shared_image.read(descriptor, block.offset, block.generation, shape)
    finally:
        os.close(descriptor)


def noise(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    first, second = block_in(tmp_path), block_in(tmp_path, 8, 4 * PAGE)
    assert shared_image.write(first, noise(1))
    assert shared_image.write(second, noise(2)[:, ::2])  # not contiguous

    assert np.array_equal(read(first), noise(1))
    assert np.array_equal(read(second, (64, 24, 3)), noise(2)[:, ::2])


def test_pixels_that_do_not_fit_or_have_no_arena_are_not_written(tmp_path: Path) -> None:
    block = block_in(tmp_path)

    assert not shared_image.write(block, noise(shape=(65, 48, 3)))
    assert not shared_image.write(block._replace(arena=str(tmp_path / "absent")), noise())
    with pytest.raises(ReadError):
        read(block)


def test_another_generation_is_stale_and_so_is_an_arena_that_became_shorter(tmp_path: Path) -> None:
    block = block_in(tmp_path)
    shared_image.write(block, noise())
    for other in (block._replace(generation=8), block._replace(offset=PAGE)):
        with pytest.raises(ReadError) as stale:
            read(other)
        assert stale.value.code == STALE
    os.truncate(block.arena, PAGE)

    with pytest.raises(ReadError) as short:
        read(block)
    assert short.value.code == STALE


def test_a_place_that_no_file_has_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(ReadError) as raised:
        read(block_in(tmp_path)._replace(offset=-1))

    assert raised.value.code == UNREADABLE


def test_a_reader_beside_a_writer_never_gets_pixels_of_two_images(tmp_path: Path) -> None:
    """The owner clears the generation between two images, as an arena does."""
    side = (1000, 1000, 3)
    path = tmp_path / f"{PREFIX}race"
    path.write_bytes(bytes(shared_image.size_of(side) + GENERATION.size))
    blocks = [Block(str(path), 0, shared_image.size_of(side), generation) for generation in range(1, 60)]
    images = [np.full(side, block.generation, np.uint8) for block in blocks]
    current = [0]  # A reader gets the reference to a block only once it is written.

    def write_all() -> None:
        descriptor = shared_image.open_arena(path, os.O_RDWR)
        for block, image in zip(blocks, images, strict=True):
            os.pwrite(descriptor, FREE, 0)
            shared_image.write(block, image)
            current[0] = block.generation
        os.close(descriptor)

    writer = threading.Thread(target=write_all)
    writer.start()
    outcomes = {"read": 0, "stale": 0}
    while writer.is_alive() or not outcomes["read"]:
        if not (generation := current[0]):
            continue
        try:
            pixels = read(blocks[generation - 1], side)
        except ReadError:
            outcomes["stale"] += 1
            continue
        outcomes["read"] += 1
        assert (pixels == generation).all()
    writer.join()

    assert outcomes["stale"]


@pytest.mark.parametrize(
    "change",
    [
        {"arena": "../etc/passwd"},
        {"arena": "resnest-arena-/../../etc/passwd"},
        {"arena": "passwd"},
        {"shape": [2, 2]},
        {"shape": [0, 2, 3]},
        {"offset": "here"},
        {"generation": None},
        {"generation": 0},
        {"generation": 1 << 64},
        {"offset": -8},
    ],
)
def test_a_reference_to_something_else_is_an_error(change: dict[str, Any]) -> None:
    correct = {"arena": f"{PREFIX}0", "offset": 0, "generation": 1, "shape": [2, 2, 3]}
    assert shared_image.parse_reference(correct) == (f"{PREFIX}0", 0, 1, (2, 2, 3))

    with pytest.raises((ValueError, TypeError)):
        shared_image.parse_reference({**correct, **change})


def test_only_a_file_itself_is_opened(tmp_path: Path) -> None:
    block = block_in(tmp_path)
    (tmp_path / "link").symlink_to(block.arena)
    os.mkfifo(tmp_path / "fifo")

    for name in ("link", "fifo", "."):
        with pytest.raises(OSError, match=r"no file|Too many levels|Is a directory"):
            shared_image.open_arena(tmp_path / name)


def test_the_folder_is_that_of_the_environment(tmp_path: Path) -> None:
    assert shared_image.folder({}) == shared_image.FOLDER
    assert shared_image.folder({"RESNEST_SHARED_MEMORY_DIR": ""}) == shared_image.FOLDER
    assert shared_image.folder({"RESNEST_SHARED_MEMORY_DIR": str(tmp_path)}) == tmp_path


def test_an_arena_has_an_owner_while_the_process_that_locked_it_lives(tmp_path: Path) -> None:
    assert not shared_image.has_owner(tmp_path / "absent")
    arena = Arena(tmp_path, 4 * PAGE)
    arena.open()
    assert shared_image.has_owner(tmp_path)
    arena.close()
    assert not shared_image.has_owner(tmp_path)
    block_in(tmp_path)  # a file without a lock, as an owner leaves it that was killed
    assert not shared_image.has_owner(tmp_path)
