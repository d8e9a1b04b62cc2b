"""What a worker makes of a reference to an image in shared memory."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from service.errors import Internal
from service.gateway.uploads.arena import Arena
from service.tasks import shared_image
from service.tasks.frame import UnpackedFrame
from service.tasks.shared_image import GENERATION, STALE, UNREADABLE, SharedImage
from service.worker.exchange import NO_IMAGE, RejectedImageError
from service.worker.shared_images import SharedImages

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
SIZE = 1 << 20


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[SharedImages]:
    made = SharedImages(tmp_path)
    yield made
    made.close()


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    made = Arena(tmp_path, SIZE)
    made.open()
    yield made
    made.close()


def stored(arena: Arena) -> SharedImage:
    block = arena.allocate(PIXELS.nbytes)
    assert block is not None
    file = shared_image.open_arena(Path(block.arena), os.O_RDWR)  # `write` would keep it open
    os.pwrite(file, GENERATION.pack(block.generation) + PIXELS.tobytes(), block.offset)
    os.close(file)
    return SharedImage(arena, block, PIXELS.shape)


def frame_of(reference: dict[str, Any]) -> UnpackedFrame:
    return {"expires": 5.0, "shared": reference}, {}


def image_in(loaded: UnpackedFrame | RejectedImageError) -> np.ndarray[Any, Any]:
    assert not isinstance(loaded, RejectedImageError), loaded
    return loaded[1]["image"]


def code_of(loaded: UnpackedFrame | RejectedImageError) -> str:
    assert isinstance(loaded, RejectedImageError)
    return loaded.code


def test_the_image_of_a_reference_is_loaded_and_stays_what_it_is(worker: SharedImages, arena: Arena) -> None:
    image = stored(arena)
    loaded = worker.load(frame_of(image.reference))
    image.release()
    block = arena.allocate(PIXELS.nbytes)
    assert block is not None
    shared_image.write(block, 255 - PIXELS)

    assert np.array_equal(image_in(loaded), PIXELS)


def test_frames_with_pixels_and_rejections_stay_as_they_are(worker: SharedImages) -> None:
    pixels: UnpackedFrame = ({"expires": 1.0}, {"image": PIXELS})
    rejection = RejectedImageError("no")

    assert worker.load(pixels) is pixels
    assert worker.load(rejection) is rejection


def test_a_freed_image_is_stale(worker: SharedImages, arena: Arena) -> None:
    image = stored(arena)
    worker.load(frame_of(image.reference))
    image.release()

    assert code_of(worker.load(frame_of(image.reference))) == STALE


def test_the_memory_of_another_host_is_unreadable(worker: SharedImages, arena: Arena, tmp_path: Path) -> None:
    elsewhere = SharedImages(tmp_path / "elsewhere")
    reference = stored(arena).reference

    assert code_of(elsewhere.load(frame_of(reference))) == UNREADABLE
    assert code_of(worker.load(frame_of({**reference, "arena": f"{shared_image.PREFIX}0"}))) == UNREADABLE


@pytest.mark.parametrize("change", [{"shape": [1 << 20, 1 << 20, 3]}, {"shape": [1000, 1000, 3]}, {"offset": SIZE}])
def test_a_reference_beyond_the_arena_is_stale(worker: SharedImages, arena: Arena, change: dict[str, Any]) -> None:
    reference = stored(arena).reference

    assert code_of(worker.load(frame_of({**reference, **change}))) == STALE


@pytest.mark.parametrize(
    "change", [{"arena": "/etc/passwd"}, {"shape": "all"}, {"offset": None}, {"shape": [1 << 80, 1, 3]}]
)
def test_a_reference_that_is_none_is_no_image(worker: SharedImages, arena: Arena, change: dict[str, Any]) -> None:
    loaded = worker.load(frame_of({**stored(arena).reference, **change}))

    assert isinstance(loaded, RejectedImageError)
    assert (str(loaded), loaded.code) == (NO_IMAGE, Internal.code())


def target_of(link: Path) -> str:
    try:
        return str(link.readlink())
    except FileNotFoundError:  # the descriptor with which the folder is listed
        return ""


def test_the_memory_of_a_gateway_that_ended_is_given_back_when_the_next_one_is_opened(
    worker: SharedImages, tmp_path: Path
) -> None:
    for _ in range(20):
        arena = Arena(tmp_path, SIZE)
        arena.open()
        assert np.array_equal(image_in(worker.load(frame_of(stored(arena).reference))), PIXELS)
        arena.close()

    assert sum(str(tmp_path) in target_of(each) for each in Path("/proc/self/fd").iterdir()) == 1
