"""The linear head: the optimum that scikit-learn finds, balanced labels, and a penalty that images left out choose."""

import numpy as np
import pytest
import torch

from service.engines.training import linear_head
from service.engines.training.linear_head import PENALTIES, Features, Ids, LinearHead
from service.models.cards import CardError


def blobs(counts: tuple[int, ...], dimensions: int = 40, distance: float = 1.0, seed: int = 3) -> tuple[Features, Ids]:
    """Return features `(n, d)` around one centre for each class, with a common offset, and the class ids."""
    random = np.random.default_rng(seed)
    centres = random.normal(0, distance, (len(counts), dimensions))
    ids = np.repeat(np.arange(len(counts)), counts)
    return (centres[ids] + random.normal(5, 1, (len(ids), dimensions))).astype(np.float32), ids


def folds_of(ids: Ids, parts: int = 5) -> Ids:
    return np.concatenate([np.arange(int(count)) % parts for count in np.bincount(ids)])


def logits(head: LinearHead, features: Features) -> torch.Tensor:
    return torch.from_numpy(features) @ head.weight.T + head.bias


@pytest.mark.parametrize("counts", [(60, 60, 60), (90, 20, 10)], ids=["balanced", "imbalanced"])
@pytest.mark.parametrize("dimensions", [12, 400], ids=["more images than features", "fewer"])
def test_the_head_is_the_optimum_that_scikit_learn_finds(counts: tuple[int, ...], dimensions: int) -> None:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - takes 0.8 s, in every process of the tests

    features, ids = blobs(counts, dimensions, distance=0.4)
    head = linear_head.fit(features, ids, folds_of(ids))

    centred = features.astype(np.float64) - features.mean(axis=0)
    scaled = centred / np.sqrt(np.square(centred).sum(axis=1).mean())
    peer = LogisticRegression(C=1 / (head.penalty * len(ids)), class_weight="balanced", tol=1e-8, max_iter=5000)
    theirs = torch.from_numpy(peer.fit(scaled, ids).predict_proba(scaled))

    ours = (logits(head, features).double() * head.temperature).softmax(dim=1)
    torch.testing.assert_close(ours, theirs, atol=2e-3, rtol=0)


def test_the_penalty_has_the_lowest_loss_on_images_that_were_left_out() -> None:
    data = [blobs((40, 40), distance=distance) for distance in (2.0, 0.1)]
    far, near = (linear_head.fit(features, ids, folds_of(ids)) for features, ids in data)

    assert far.penalty < near.penalty
    assert far.mean_recall > 0.95
    assert near.mean_recall < 0.7
    assert near.log_loss == pytest.approx(np.log(2), abs=0.1)  # it knows that it does not know
    assert {far.penalty, near.penalty} <= set(PENALTIES)


def test_a_rare_label_counts_as_much_as_a_frequent_one() -> None:
    features, ids = blobs((300, 15), dimensions=8, distance=0.6)
    head = linear_head.fit(features, ids, folds_of(ids))

    unseen, truth = blobs((500, 500), dimensions=8, distance=0.6)
    right = logits(head, unseen).argmax(dim=1).numpy() == truth
    assert abs(right[truth == 0].mean() - right[truth == 1].mean()) < 0.15


def test_scores_are_calibrated_on_new_images() -> None:
    features, ids = blobs((60, 60, 60), dimensions=200, distance=0.35)
    head = linear_head.fit(features, ids, folds_of(ids))

    unseen, truth = blobs((700, 700, 700), dimensions=200, distance=0.35, seed=3)
    found = logits(head, unseen[180:]).softmax(dim=1)
    confidence, right = found.max(dim=1).values.mean().item(), (found.argmax(dim=1).numpy() == truth[180:]).mean()
    assert confidence == pytest.approx(right, abs=0.1)


def test_features_of_one_value_and_of_none_change_nothing() -> None:
    features, ids = blobs((30, 30), dimensions=6)
    padded = np.concatenate([features, np.zeros((60, 2), np.float32), np.full((60, 1), 7, np.float32)], axis=1)

    plain, more = (linear_head.fit(given, ids, folds_of(ids)) for given in (features, padded))

    one, other = (logits(*given).softmax(dim=1) for given in ((plain, features), (more, padded)))
    torch.testing.assert_close(one, other, atol=5e-3, rtol=0)


def test_features_that_are_not_finite_are_refused() -> None:
    features, ids = blobs((10, 10))
    features[3, 4] = np.inf

    with pytest.raises(CardError, match="not finite"):
        linear_head.fit(features, ids, folds_of(ids))


def test_a_temperature_corrects_logits_that_are_too_sure() -> None:
    sure = torch.tensor([[4.0, 0.0], [4.0, 0.0], [0.0, 4.0], [0.0, 4.0]]).repeat(5, 1)
    ids = torch.tensor([0, 1, 1, 1]).repeat(5)

    found = linear_head.fit_temperature(sure, ids)

    assert found > 2
    assert linear_head.log_loss(sure / found, ids) < linear_head.log_loss(sure, ids)


def test_the_layer_computes_what_the_head_does() -> None:
    features, ids = blobs((20, 20))
    head = linear_head.fit(features, ids, folds_of(ids))

    torch.testing.assert_close(head.layer()(torch.from_numpy(features)), logits(head, features))
