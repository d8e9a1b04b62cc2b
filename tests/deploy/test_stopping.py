"""Pods that stop have the time for every answer that a card allows."""

import pytest

from service.models import zoo
from service.tasks import PREDICT, operation_of
from service.worker import drain
from tests.deploy import reading
from tests.deploy.programs import TOP
from tests.deploy.reading import pods
from tests.deploy.test_kubernetes import every_overlay, settings


def longest_deadline_s() -> float:
    """Return the longest deadline of a published model. Passes over several scales take longer, and are sent again."""
    return max(operation_of(card, PREDICT).deadline_s(card) for card in zoo.read_all(TOP / "model_store").values())


@every_overlay
def test_the_gateway_has_the_time_to_drain_that_its_settings_give_it(
    overlay: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to = settings(overlay, monkeypatch)

    assert pods(overlay)["gateway"]["terminationGracePeriodSeconds"] > set_to.shutdown_timeout_s
    assert set_to.graceful_timeout_s >= longest_deadline_s()
    assert set_to.drain_s >= 10, "two failed readiness probes, 5 s apart"


@every_overlay
def test_the_worker_is_told_to_stop_only_after_its_time_to_finish(overlay: str) -> None:
    pod = pods(overlay)["worker"]
    (worker,) = pod["containers"]
    *program, seconds, option, most = worker["lifecycle"]["preStop"]["exec"]["command"]
    assert program == ["python", "-m", drain.__name__]
    assert option == "--at-most"
    assert int(seconds) >= 10, "for the name service"
    assert int(most) >= int(seconds) + longest_deadline_s()
    assert pod["terminationGracePeriodSeconds"] >= int(most) + drain.END_S


def test_a_worker_without_a_hook_has_the_time_for_its_running_batch() -> None:
    """Compose has no hooks before release 2.30, and runs them for its own commands alone."""
    worker = reading.load("docker-compose.yml")["services"]["worker"]

    assert longest_deadline_s() <= drain.AT_MOST_S
    assert int(worker["stop_grace_period"].rstrip("s")) > drain.AT_MOST_S + drain.SEND_S + drain.END_S
