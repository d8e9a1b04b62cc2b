"""The state of a model, from its workers and its last probe."""

import numpy as np

from service.gateway.backend.torchserve import Workers
from service.gateway.inference.model_watch import PROBE_SIDE, watch_of
from service.models.cards import ModelCard


def test_a_model_is_ready_while_a_worker_is_that_was_ready_at_the_answered_probe(served: dict[str, ModelCard]) -> None:
    watch = watch_of(served["tiny-classifier"])
    states = [watch.state]
    watch.workers, watch.confirmed = Workers(frozenset({1, 2}), 2), frozenset({1})
    states.append(watch.state)
    watch.was_ready, watch.workers = True, Workers(frozenset({2}), 2)
    states.append(watch.state)
    watch.workers = Workers(frozenset(), 2, refused=True)
    assert [*states, watch.state] == ["loading", "ready", "unavailable", "refused"]


def test_the_probe_is_the_same_image_each_time_and_small_where_any_size_will_do(served: dict[str, ModelCard]) -> None:
    segmenter = served["tiny-segmenter"]
    large = segmenter.model_copy(update={"input": segmenter.input.model_copy(update={"size": 1024})})
    first, second = watch_of(large), watch_of(large)
    assert np.array_equal(first.probe_image, second.probe_image)
    assert max(first.probe_image.shape) == PROBE_SIDE
