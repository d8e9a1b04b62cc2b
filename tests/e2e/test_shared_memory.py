"""Decoded images reach the workers in shared memory, and no fault makes one image's answer another's."""

from pathlib import Path

from tests.e2e.running import START_S, until
from tests.e2e.shared_memory import MAY_FAIL, MODEL, Callers, Faults, files_in, metric, serving, wait_for

IMAGES = 400  # before the faults, and again meanwhile and after them
TIMEOUT_S = 120.0


def test_killed_and_stopped_decoders_workers_and_gateways_swap_no_answers(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        callers, faults = Callers(service, tmp_path), Faults(service)
        in_turn = [faults.kill_a_decoder, faults.stop_a_worker, faults.stop_a_decoder, faults.kill_a_decoder]
        with callers.calling() as outcomes:
            wait_for(outcomes, IMAGES, TIMEOUT_S)
            for fault in (*in_turn, faults.kill_a_worker, faults.kill_a_gateway):
                fault()
                wait_for(outcomes, 40, TIMEOUT_S)
            wait_for(outcomes, IMAGES - 240, TIMEOUT_S)

        assert not outcomes.wrong, outcomes.wrong
        assert set(outcomes.failed) <= MAY_FAIL, outcomes.failed
        assert outcomes.correct > IMAGES // 2, outcomes  # on a busy machine many are too late
        assert len(faults.made) == 5, faults.made
        until(lambda: len(files_in(tmp_path / "memory")) == 2, START_S, lambda: service.output)
        until(lambda: metric(service, "resnest_shared_memory_bytes") == 0, START_S, lambda: service.output)
        assert metric(service, "resnest_images_sent_total", model=MODEL, transport="shared_memory") > IMAGES // 2
    assert files_in(tmp_path / "memory") == []
