"""What signals ask of a command."""

import os
import signal

import pytest

from service.host.signals import signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_asks_to_stop_and_a_second_to_hurry(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with signals() as asked:
        assert not asked.to_stop.is_set()
        os.kill(os.getpid(), number)
        assert asked.to_stop.wait(5)
        assert not asked.to_hurry.is_set()
        os.kill(os.getpid(), number)
        assert asked.to_hurry.wait(5)
    assert signal.getsignal(number) is before
