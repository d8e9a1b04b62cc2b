"""The blocks of a decode job: given away with its images, or free once its process cannot write to them."""

import numpy as np
import pytest

from service.gateway.uploads.arena import PAGE, Arena
from service.gateway.uploads.lease import Lease
from service.tasks import shared_image
from service.tasks.shared_image import Block, SharedImage
from tests.gateway.uploads.conftest import SHAPE, SIZE, pixels, stored


def take(lease: Lease) -> list[Block]:
    return [Block(*fields) for fields in lease.begin() if fields is not None]


def test_a_lease_gives_its_images_away_and_frees_the_others(arena: Arena) -> None:
    with Lease(arena, [SIZE, 0, SIZE, SIZE]) as lease:
        first, second, third = take(lease)
        assert shared_image.write(first, pixels(1))
        lease.end()
        images = lease.claim([SHAPE, pixels(2), pixels(3), SHAPE])

    assert arena.used_bytes == 2 * PAGE
    assert [isinstance(image, SharedImage) for image in images] == [True, False, False, True]
    assert isinstance(images[0], SharedImage)
    assert np.array_equal(images[0].pixels(), pixels(1))
    assert (second.offset, third.offset) == (PAGE, 2 * PAGE)


def given_up_before_its_end(arena: Arena) -> Lease:
    with Lease(arena, [SIZE]) as lease:
        take(lease)
    return lease


def test_the_blocks_of_a_job_that_was_given_up_are_free_only_when_its_process_has_ended(arena: Arena) -> None:
    lease = given_up_before_its_end(arena)
    assert arena.used_bytes == PAGE
    lease.end()

    assert arena.used_bytes == 0


def test_the_blocks_of_a_process_that_cannot_be_ended_are_never_used_again(arena: Arena) -> None:
    given_up_before_its_end(arena)

    assert [stored(arena, 1).reference["offset"] for _ in range(3)] == [PAGE] * 3


def test_a_job_that_is_run_again_while_its_process_may_still_write_leaves_that_its_block(arena: Arena) -> None:
    with Lease(arena, [SIZE]) as lease:
        (before,) = take(lease)
        (after,) = take(lease)
        lease.end()

    assert before.offset != after.offset
    assert arena.used_bytes == PAGE


def test_a_shape_without_a_block_is_an_error(arena: Arena) -> None:
    with Lease(arena, [0]) as lease:
        assert take(lease) == []
        lease.end()
        with pytest.raises(ValueError, match="in no block"):
            lease.claim([SHAPE])


def test_a_job_that_is_run_again_gets_new_blocks(arena: Arena) -> None:
    with Lease(arena, [SIZE]) as lease:
        (before,) = take(lease)
        lease.end()
        (after,) = take(lease)
        lease.end()

    assert before.generation != after.generation
    assert arena.used_bytes == 0


@pytest.mark.parametrize("shape", [(40, 30, 4), (40, 30), (0, 30, 3), (1000, 1000, 3)])
def test_a_shape_that_a_decode_process_cannot_have_written_is_an_error(arena: Arena, shape: tuple[int, ...]) -> None:
    with Lease(arena, [SIZE]) as lease:
        take(lease)
        lease.end()
        with pytest.raises(ValueError, match="does not fit"):
            lease.claim([shape])

    assert arena.used_bytes == 0
