"""Which batch sizes are made ready."""

import pytest

from service.engines import buckets


@pytest.mark.parametrize(
    ("largest", "sizes"),
    [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (8, [1, 2, 4, 8]), (12, [1, 2, 4, 8, 12]), (16, [1, 2, 4, 8, 16])],
)
def test_they_are_the_powers_of_two_and_the_largest(largest: int, sizes: list[int]) -> None:
    assert buckets.sizes(largest) == sizes
