"""A hundred thousand images while decoders, workers and gateways are killed and stopped again and again."""

import math
import time
from pathlib import Path

import pytest

from service.host.gateways import STABLE_S
from tests.e2e.running import START_S, until
from tests.e2e.shared_memory import (
    MAY_FAIL,
    MODEL,
    Callers,
    Faults,
    files_in,
    metric,
    run_faults,
    serving,
    wait_for,
)
from tests.stress.scale import scaled

pytestmark = [pytest.mark.stress, pytest.mark.timeout(7200)]

IMAGES = scaled(100_000)
TIMEOUT_S = 7000.0
BETWEEN_GATEWAYS_S = STABLE_S + 5  # `run` gives up when its gateways end sooner than that again and again


def test_a_hundred_thousand_images_among_faults_swap_no_answer(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        callers, faults = Callers(service, tmp_path), Faults(service)

        def let_it_recover() -> None:
            """Wait for the worker that replaces a killed one, or TorchServe gives up on it."""
            until(lambda: metric(service, "resnest_workers_ready", model=MODEL) == 2, 10 * START_S)

        killed_at = -math.inf

        def kill_a_stable_gateway() -> None:
            nonlocal killed_at
            if time.monotonic() - killed_at > BETWEEN_GATEWAYS_S:
                faults.kill_a_gateway()
                killed_at = time.monotonic()

        in_turn = [
            *[faults.kill_a_decoder] * 6,
            faults.stop_a_worker,
            *[faults.kill_a_decoder, faults.stop_a_decoder] * 2,
            faults.kill_a_worker,
            *[faults.kill_a_decoder] * 6,
            let_it_recover,
            faults.stop_a_worker,
            kill_a_stable_gateway,
        ]
        with callers.calling() as outcomes:
            run_faults(in_turn, outcomes, IMAGES, TIMEOUT_S)
            wait_for(outcomes, 400, TIMEOUT_S)

        print(f"{outcomes} with {dict(faults.made)}")  # noqa: T201 - shown with `-rP`
        assert not outcomes.wrong, outcomes.wrong
        assert set(outcomes.failed) <= MAY_FAIL, outcomes.failed
        assert len(faults.made) == 5, faults.made
        until(lambda: len(files_in(tmp_path / "memory")) == 2, START_S, lambda: service.output)
        until(lambda: metric(service, "resnest_shared_memory_bytes") == 0, START_S, lambda: service.output)
        assert metric(service, "resnest_images_sent_total", model=MODEL, transport="shared_memory") > 0
    assert files_in(tmp_path / "memory") == []
