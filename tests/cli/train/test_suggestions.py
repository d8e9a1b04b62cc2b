"""Suggested photos are those of which the model is least sure, and differ from each other and from labelled ones."""

import numpy as np
import pytest

from service.cli.train import suggestions


def test_the_least_sure_photo_comes_first_and_sure_ones_never() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(50, 6))
    sure = np.linspace(0.999, 0.501, 50)

    chosen = suggestions.choose(features, np.stack([sure, 1 - sure], axis=1), 4)

    assert chosen[0].index == 49
    assert chosen[0].margin == pytest.approx(0.002)
    assert chosen[0].distance is None
    assert min(each.index for each in chosen) >= 30  # of the 20 least sure ones
    assert all(each.best == (0, 1) for each in chosen)


def test_photos_that_are_alike_are_chosen_once() -> None:
    directions = np.repeat(np.eye(3), 5, axis=0) + np.random.default_rng(1).normal(0, 1e-3, (15, 3))
    unsure = np.full((15, 2), 0.5)

    chosen = suggestions.choose(directions, unsure, 3)

    assert sorted(each.index // 5 for each in chosen) == [0, 1, 2]
    assert all(each.distance == pytest.approx(1, abs=0.05) for each in chosen[1:])


def test_photos_like_labelled_ones_come_last_and_copies_of_them_never() -> None:
    features = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]])
    unsure = np.array([[0.5, 0.5], [0.6, 0.4], [0.55, 0.45]])

    chosen = suggestions.choose(features, unsure, 3, labelled=np.array([[2.0, 0.0]]))

    assert [each.index for each in chosen] == [1, 2]


def test_no_more_photos_are_chosen_than_there_are() -> None:
    assert len(suggestions.choose(np.eye(2), np.full((2, 2), 0.5), 10)) == 2
