"""Finding how models of a task are scored."""

import pytest

from service.measure.accuracy.scoring import qualities, scoring_of
from service.tasks import PREDICT, TASKS


@pytest.mark.parametrize("name", TASKS)
def test_every_task_is_scored_and_its_qualities_are_operations_of_it(name: str) -> None:
    scoring = scoring_of(name)

    assert scoring.columns[0].published == TASKS[name].published_score[1]
    assert set(scoring.qualities.values()) <= TASKS[name].by_name.keys()
    assert next(iter(scoring.qualities.values())) == PREDICT


def test_the_quality_that_every_model_has_comes_first() -> None:
    assert qualities() == ["fast", "best"]


def test_a_task_that_is_not_registered_has_no_scoring() -> None:
    with pytest.raises(KeyError):
        scoring_of("nothing")
