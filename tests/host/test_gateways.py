"""How gateway processes are restarted; tests/e2e/test_gateways.py tests what they serve and count."""

import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest

from service.host.gateways import PAUSES_S, SHARED, GatewayError, GatewayProcesses
from service.host.processes import free_port
from tests.e2e.running import until
from tests.stores import write_store

WAIT_S = 120


def gateway_processes(
    count: int, folder: Path, clock: Callable[[], float] = time.monotonic, **settings: str
) -> GatewayProcesses:
    """Return `count` gateway processes without a model server, not started yet."""
    environment = {**os.environ, "RESNEST_PORT": str(free_port()), **settings}
    return GatewayProcesses(count, folder / SHARED, environment, folder, clock)


def running() -> dict[int, psutil.Process]:
    """Return this process's gateway processes by their ids."""
    children = psutil.Process().children()
    return {child.pid: child for child in children if _runs(child)}


def test_a_process_that_ends_is_started_again_and_its_counts_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = write_store(tmp_path / "store", "tiny-classifier", weights=False)
    gateways = gateway_processes(2, tmp_path, RESNEST_MODEL_STORE=str(store))
    try:
        gateways.start()
        shared = tmp_path / SHARED
        until(lambda: len(list(shared.glob("counter_*.db"))) == 2, WAIT_S)
        assert gateways.exit_code is None
        victim = next(iter(running().values()))
        victim.kill()
        until(lambda: gateways.exit_code == -9, WAIT_S)
        gateways.restart_ended()
        assert gateways.exit_code is None
        assert list(shared.glob(f"gauge_live*_{victim.pid}.db")) == []
        (new,) = set(running()) - {victim.pid} - {int(path.stem.split("_")[1]) for path in shared.glob("counter_*.db")}
        until((shared / f"counter_{new}.db").exists, WAIT_S)
        assert not (shared / f"counter_{victim.pid}.db").exists()
    finally:
        gateways.stop(WAIT_S, lambda: False)
    assert caplog.messages == ["A gateway process was ended by signal SIGKILL; restarting it in 0 s"]


def test_after_so_many_starts_in_vain_it_gives_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The process ends by itself because of an invalid setting. The clock is this test's own."""
    now = 0.0
    gateways = gateway_processes(1, tmp_path, lambda: now, RESNEST_PORT="none")

    def ended(times: int) -> bool:
        gateways.restart_ended()
        return len(caplog.messages) == times

    try:
        gateways.start()
        for times, pause_s in enumerate(PAUSES_S[:-1], 1):
            until(partial(ended, times), WAIT_S, lambda: caplog.text)
            now += pause_s
        with pytest.raises(GatewayError, match="the gateway still ends after 5 restarts"):
            until(lambda: ended(-1), WAIT_S, lambda: caplog.text)
    finally:
        gateways.stop(1, lambda: True)
    assert [line.rpartition(" in ")[2] for line in caplog.messages] == ["0 s", "1 s", "2 s", "5 s", "15 s", "30 s"]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and process.cmdline()[1:3] == ["-m", "service"]
    except psutil.NoSuchProcess:
        return False
