"""Photos are dealt evenly, near copies together, and alike for one seed."""

import numpy as np
import pytest

from service.cli.train import split


def test_each_label_has_the_same_share_in_each_part() -> None:
    ids = np.repeat([0, 1, 2], [50, 100, 10])

    parts = split.deal(ids, np.arange(160), 5, seed=1)

    assert [np.bincount(parts[ids == each]).tolist() for each in range(3)] == [[10] * 5, [20] * 5, [2] * 5]


def test_a_group_is_never_divided_also_across_labels() -> None:
    random = np.random.default_rng(5)
    ids, groups = random.integers(0, 3, 400), random.integers(0, 90, 400)

    parts = split.deal(ids, groups, 4, seed=2)

    assert all(len(set(parts[groups == group])) == 1 for group in set(groups.tolist()))
    assert set(parts.tolist()) == {0, 1, 2, 3}


@pytest.mark.parametrize("parts", [2, 5])
def test_a_seed_deals_alike_and_another_one_differently(parts: int) -> None:
    ids, groups = np.repeat([0, 1], 40), np.arange(80)

    first, again, other = (split.deal(ids, groups, parts, seed) for seed in (3, 3, 4))

    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
