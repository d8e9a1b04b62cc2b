"""Which batch sizes are recorded, and how a batch of another size is composed."""

import pytest

from service.engines.cuda import batch_sizes


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12]), (16, [1, 2, 4, 8, 16])],
)
def test_they_are_the_powers_of_two_and_the_largest(largest: int, sizes: list[int]) -> None:
    assert batch_sizes.sizes(largest) == sizes


def passes(times: dict[int, float], count: int) -> list[int]:
    first, found = batch_sizes.plan(times), []
    while count > 0:
        found.append(first[min(count, len(first) - 1)])
        count -= found[-1]
    return found


def test_a_batch_is_padded_where_a_larger_pass_is_as_fast() -> None:
    times = {1: 5.0, 2: 5.0, 4: 5.1, 8: 5.2}
    assert [passes(times, count) for count in (1, 2, 3, 5, 8)] == [[2], [2], [4], [8], [8]]


def test_a_batch_is_taken_apart_where_padding_takes_longer() -> None:
    times = {count: 1.0 + count for count in (1, 2, 4, 8, 16, 32, 64)}
    assert passes(times, 33) == [32, 1]
    assert passes(times, 63) == [64]
    assert passes(times, 130) == [64, 64, 2]


@pytest.mark.parametrize("count", range(1, 9))
def test_no_other_way_to_make_a_batch_is_faster(count: int) -> None:
    times = {1: 3.0, 2: 3.5, 4: 5.0, 8: 11.0}
    assert sum(times[each] for each in passes(times, count)) == fastest(times, count)


def fastest(times: dict[int, float], count: int) -> float:
    """Return the shortest time, found by trying every composition."""
    return min(times[each] + (fastest(times, count - each) if count > each else 0) for each in times)
