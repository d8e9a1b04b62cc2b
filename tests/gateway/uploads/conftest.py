"""An arena with room for sixteen small images."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from service.gateway.uploads.arena import PAGE, Arena
from service.tasks import shared_image
from service.tasks.shared_image import Pixels, SharedImage

SHAPE = (40, 30, 3)
SIZE = shared_image.size_of(SHAPE)


@pytest.fixture
def arena(tmp_path: Path) -> Iterator[Arena]:
    made = Arena(tmp_path, 16 * PAGE)
    made.open()
    yield made
    made.close()


def pixels(value: int) -> Pixels:
    return np.full(SHAPE, value, np.uint8)


def stored(arena: Arena, value: int) -> SharedImage:
    block = arena.allocate(SIZE)
    assert block is not None
    assert shared_image.write(block, pixels(value))
    return SharedImage(arena, block, SHAPE)
