"""The step test finds the capacity of a real server, whose limit is known."""

import pytest

from service.measure.capacity import step_test
from service.measure.capacity.step_test import CapacityError
from service.measure.load.session import SessionOptions
from service.measure.load.usage import Usage
from tests.measure.load.serving import Answer, Server, running
from tests.measure.load.trials import make_trial

DELAY_S = 0.002
TIMED = Answer(DELAY_S, headers=("Server-Timing: queue;dur=5, inference;dur=10",))


def brief(url: str) -> SessionOptions:
    return SessionOptions(url=url, size=((64, 48),), duration=0.5, warm_up=0.1)


@pytest.mark.anyio
async def test_the_capacity_is_what_the_server_answers_within_the_bound() -> None:
    """The server answers one request after another, so at most 500 in a second."""
    lines: list[str] = []
    async with running(Server(lambda _: TIMED, one_at_a_time=True)) as server:
        found, trials = await step_test.measure(brief(server.url), 2000, lines.append, lambda *_: None)

    assert 20 < found.images_per_s <= 1.2 / DELAY_S
    assert found.in_flight == pytest.approx(trials[-1].summary.images_per_s * 0.015)
    assert trials[-1].load.amount == pytest.approx(0.7 * found.images_per_s)
    assert len(trials) == len(step_test.CALLERS) + len(step_test.SHARES) + 1
    assert len(lines) == 1


@pytest.mark.anyio
async def test_a_server_that_does_not_report_its_stages_is_named() -> None:
    async with running(Server(lambda _: Answer(DELAY_S), one_at_a_time=True)) as server:
        with pytest.raises(CapacityError, match="stage queue in Server-Timing"):
            await step_test.measure(brief(server.url), 2000, lambda _: None, lambda *_: None)


def test_a_load_without_any_answer_is_too_short_to_tell_the_stages() -> None:
    trial = make_trial(100, 0, 0.01)
    with pytest.raises(CapacityError, match="no image was answered"):
        step_test.measured(trial, trial)


def test_only_the_processes_of_the_gateway_count_as_its_cpu_time() -> None:
    trial = make_trial(100, 100, 0.01)
    trial.summary.stages_ms.update({stage: {"mean": 1.0} for stage in ("queue", "inference")})
    trial.processes[:] = [
        Usage(1, "service gateway", 0.5, 100),
        Usage(2, "from multiprocessing.forkserver", 0.25, 50),
        Usage(3, "model_service_worker.py", 1.5, 300),
        Usage(4, "java", 0.2, 300),
    ]

    found = step_test.measured(trial, trial)

    assert found.gateway_core_s == pytest.approx(0.75 / trial.summary.images_per_s)
