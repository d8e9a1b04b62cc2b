"""Admission control: slots for each model, shares of callers, deadlines and buffered bytes."""

import pytest
from prometheus_client import CollectorRegistry, Gauge

from service.errors import Overloaded
from service.gateway.scheduling.admission import Admission, BodyBuffer
from service.gateway.scheduling.request_terms import RequestTerms
from service.models.cards import ModelCard
from service.tasks.segmentation.task import MULTISCALE_SLOTS

pytestmark = pytest.mark.anyio

HOG, GUEST = RequestTerms("hog"), RequestTerms("guest")


def gauge() -> Gauge:
    return Gauge("taken", "slots", ["model"], registry=CollectorRegistry())


def value(taken: Gauge, model: ModelCard) -> float:
    (found,) = [
        sample.value for family in taken.collect() for sample in family.samples if sample.labels["model"] == model.name
    ]
    return float(found)


@pytest.fixture
def a(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-classifier"]


@pytest.fixture
def b(served: dict[str, ModelCard]) -> ModelCard:
    return served["tiny-classifier-b"]


async def test_the_last_place_is_given_and_no_more(a: ModelCard) -> None:
    admission = Admission(3, gauge())

    with admission.enter([a], HOG, 2), admission.enter([a], HOG, 1), pytest.raises(Overloaded) as refused:
        admission.enter([a], HOG, 1).__enter__()

    assert (refused.value.limit, refused.value.actual) == (3, 4)


async def test_places_are_given_back_also_after_an_error(a: ModelCard) -> None:
    taken = gauge()
    admission = Admission(1, taken)

    with pytest.raises(KeyError), admission.enter([a], HOG, 1):
        raise KeyError
    with admission.enter([a], HOG, 1):
        assert value(taken, a) == 1

    assert value(taken, a) == 0


async def test_a_request_for_two_models_is_let_in_to_both_or_none(a: ModelCard, b: ModelCard) -> None:
    taken = gauge()
    admission = Admission(1, taken)

    with admission.enter([b], HOG, 1):
        with pytest.raises(Overloaded), admission.enter([a, b], HOG, 1):
            pass
        with admission.enter([a], HOG, 1):
            assert value(taken, a) == 1


async def test_a_model_that_is_full_leaves_the_others_alone(a: ModelCard, b: ModelCard) -> None:
    admission = Admission(1, gauge())

    with admission.enter([a], HOG, 1), admission.enter([b], HOG, 1), pytest.raises(Overloaded):
        admission.check([a], HOG)


async def test_a_check_takes_no_place(a: ModelCard) -> None:
    admission = Admission(1, gauge())

    admission.check([a], HOG)
    admission.check([a], HOG)
    with admission.enter([a], HOG, 1):
        pass


async def test_who_has_less_than_an_equal_share_is_let_in_beside_a_flood(a: ModelCard) -> None:
    admission = Admission(8, gauge())

    with admission.enter([a], HOG, 8), admission.enter([a], GUEST, 3):
        admission.check([a], GUEST)
        for caller, images in ((GUEST, 2), (HOG, 1)):
            with pytest.raises(Overloaded):
                admission.check([a], caller, images)


async def test_the_house_is_never_stretched_beyond_its_double(a: ModelCard) -> None:
    admission = Admission(4, gauge())

    with (
        admission.enter([a], HOG, 4),
        admission.enter([a], RequestTerms("1"), 2),
        admission.enter([a], RequestTerms("2"), 1),
    ):
        with admission.enter([a], RequestTerms("3"), 1), pytest.raises(Overloaded):
            admission.check([a], RequestTerms("4"))
        admission.check([a], RequestTerms("4"))


async def test_a_picture_that_would_be_answered_after_its_deadline_is_refused(a: ModelCard) -> None:
    deadline_s = a.serving.deadline_s
    in_time, late = (Admission(8, gauge(), lambda *_, s=s: s) for s in (deadline_s - 0.5, deadline_s + 6.5))

    in_time.check([a], HOG)
    with pytest.raises(Overloaded) as refused:
        late.check([a], HOG)

    assert refused.value.retry_after_s == 7


async def test_the_time_that_the_request_asks_for_is_what_counts(a: ModelCard) -> None:
    admission = Admission(8, gauge(), lambda *_: 4.0)

    admission.check([a], RequestTerms("c", end=1e9))
    with pytest.raises(Overloaded):
        admission.check([a], RequestTerms("c", end=0.0))


async def test_nobody_is_refused_for_the_time_where_no_wait_is_foretold(a: ModelCard) -> None:
    Admission(8, gauge()).check([a], RequestTerms("c", end=0.0))


async def test_a_refusal_says_when_to_come_again_within_a_minute(a: ModelCard) -> None:
    for wait_s, retry_after_s in ((0.0, 1), (2.1, 3), (5000.0, 60)):
        admission = Admission(1, gauge(), lambda *_, s=wait_s: s)
        with pytest.raises(Overloaded) as refused:
            admission.check([a], HOG, 2)
        assert refused.value.retry_after_s == retry_after_s


async def test_a_best_mask_takes_the_places_of_many_pictures(served: dict[str, ModelCard]) -> None:
    cards, multiscale = [served["tiny-segmenter"]], RequestTerms("hog", operation="predict_multiscale")
    admission = Admission(2 * MULTISCALE_SLOTS, gauge())

    with (
        admission.enter(cards, multiscale, 1),
        admission.enter(cards, HOG, MULTISCALE_SLOTS),
        pytest.raises(Overloaded),
    ):
        admission.check(cards, HOG)
    admission.check(cards, multiscale, 2)


def test_memory_is_held_up_to_the_limit_exactly_and_given_back() -> None:
    memory = BodyBuffer(10)

    with memory.reserve() as one, memory.reserve() as other:
        one.grow(4)
        other.grow(6)
        with pytest.raises(Overloaded):
            one.grow(1)
    with memory.reserve() as again:
        again.grow(10)

    assert memory.held == 0
