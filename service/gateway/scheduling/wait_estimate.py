"""Estimate how long work waits in a queue, from measured service times and the errors of earlier estimates."""

import asyncio
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Final

from service.gateway.scheduling.request_terms import DEFAULT_URGENCY

# Weight of a new service time. The mean follows a change within about 20 samples.
TIME_GAIN: Final = 0.1
# A service time that is scaled to full load counts as at most this many times the mean: scaling multiplies a stall too.
MAX_RATIO: Final = 2.0
# Weight of a new error. Errors within a batch are alike, so the mean must span several batches.
ERROR_GAIN: Final = 0.05
DEVIATIONS: Final = 4.0  # Mean deviations in the margin. Few errors are larger.
MAX_MARGIN: Final = 1.0  # A rejected caller gives no sample, so a larger margin might never shrink again.
CAUTIOUS_S: Final = 60.0  # For so long after a missed deadline, a wait is estimated even if a slot is free.


class ServiceTime:
    """Moving average of the seconds that work of cost 1 holds a slot while all slots are in use.

    `mean_s` is None before the first sample.
    """

    def __init__(self) -> None:
        self.mean_s: float | None = None
        self._samples = 0  # in the mean, without the first

    def note(self, took_s: float, scale: float, *, failed: bool) -> None:
        """Add a sample: work of cost 1 took `took_s`, and would have taken `scale` times as long at full load.

        A failure is only a lower bound. The first sample is not scaled, because its worker is cold, and the second
        replaces it.
        """
        if self.mean_s is None:
            self.mean_s = None if failed else took_s
            return
        full_load_s = took_s * scale
        sample_s = max(took_s, min(full_load_s, MAX_RATIO * self.mean_s))
        gain = TIME_GAIN
        if not failed:
            self._samples += 1
            gain = max(TIME_GAIN, 1 / self._samples)
            if sample_s < full_load_s and self._samples * TIME_GAIN < 1:  # few samples, and the mean is far too low
                gain = 1.0
        if not failed or sample_s > self.mean_s:
            self.mean_s += gain * (sample_s - self.mean_s)


class ErrorMargin:
    """The safety margin of estimates: their mean relative error plus a multiple of its mean deviation."""

    def __init__(self) -> None:
        self._mean = 0.0
        self._deviation = 0.0

    @property
    def share(self) -> float:
        """The margin as a share of an estimate: 0 without samples or if work ends early, at most `MAX_MARGIN`."""
        return min(MAX_MARGIN, max(0.0, self._mean + DEVIATIONS * self._deviation))

    def note(self, estimated_s: float, took_s: float, *, at_least: bool = False) -> None:
        """Add a sample: work estimated at `estimated_s`, above 0, took `took_s`, or more if `at_least`."""
        error = min(MAX_MARGIN, took_s / estimated_s - 1) - self._mean
        if at_least and error <= 0:
            return
        # Only positive errors count, twice: with symmetric errors that equals the two-sided mean deviation.
        self._deviation += ERROR_GAIN * (2 * max(0.0, error) - self._deviation)
        self._mean += ERROR_GAIN * error


@dataclass(eq=False)
class Work:
    """A piece of work in a queue, with the estimate from its arrival."""

    urgency: int
    cost: float
    queued_at: float  # loop time
    estimated_s: float  # from arrival to the end; 0 if there was no estimate
    found_free_slot: bool  # then the estimate is an upper bound
    was_started: bool = False


class TurnTime:
    """Moving average of the seconds between two starts of background work, while some of it waits."""

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._since = float("-inf")  # loop time since which the next work to start has been the next

    def note_first(self) -> None:
        """Note that work came while none waited."""
        self._since = asyncio.get_running_loop().time()

    def note_start(self, *, is_sample: bool) -> None:
        """Note that work starts now. It is a sample if interactive work limits background work."""
        now = asyncio.get_running_loop().time()
        if is_sample:
            self._mean_s += (TIME_GAIN if self._mean_s else 1.0) * (now - self._since - self._mean_s)
        self._since = now

    def wait_s(self, pieces: float, *, is_waiting: bool) -> float:
        """Return the seconds until the last of so many pieces starts.

        If work `is_waiting`, it shows a lower bound before it starts.
        """
        waited_s = asyncio.get_running_loop().time() - self._since if is_waiting else 0.0
        return pieces * max(self._mean_s, waited_s)


def fair_cost(caller: Hashable, cost: float, waiting: Mapping[Hashable, float]) -> float:
    """Return the cost of new work of a caller and of all that a fair queue starts before it.

    `waiting` is the cost of the waiting work of each caller.
    """
    own = waiting.get(caller, 0.0) + cost
    return own + sum(min(each, own) for key, each in waiting.items() if key != caller)


class WaitEstimator:
    """The wait estimates of one queue.

    It is cautious for `CAUTIOUS_S` after a missed deadline: it then estimates a wait even if a slot is free.
    """

    def __init__(self, slots: Callable[[], int], *, shared: bool) -> None:
        """Estimate for a queue with so many slots, which are `shared` if one server works for all of them."""
        self.service_time = ServiceTime()
        self._margin = ErrorMargin()
        self._slots = slots
        self._shared = shared
        self._started: dict[Work, float] = {}  # loop time at which running work started
        self._missed_at = float("-inf")  # loop time of the last missed deadline

    def wait_s(self, caller: Hashable, cost: float, waiting: Mapping[Hashable, float], taken: int) -> float:
        """Return the seconds until new work of this cost would be done. A margin makes few estimates too short.

        `waiting` is the cost of each caller's work that waits or is expected, and `taken` the number of slots in use.
        Return 0 without a service-time sample, if no other work waits or runs, or if slots are free and no deadline was
        missed in the last `CAUTIOUS_S`. The admitted work then provides the next sample.
        """
        return self._mean_wait_s(caller, cost, waiting, taken) * (1 + self._margin.share)

    def on_arrival_s(
        self, caller: Hashable, cost: float, waiting: Mapping[Hashable, float], taken: int, *, is_free: bool
    ) -> float:
        """Return the mean estimate for arriving work, to compare it with the real time later; 0 if it need not wait."""
        return self._mean_wait_s(caller, cost, waiting, taken) if self._is_cautious or not is_free else 0.0

    def free_in_s(self) -> float:
        """Return the seconds until a slot is free, by the service time; 0 if one is free or there is no sample."""
        if self.service_time.mean_s is None or len(self._started) < self._slots():
            return 0.0
        return max(0.0, min(self._started.values()) + self.service_time.mean_s - asyncio.get_running_loop().time())

    def start(self, work: Work, taken: int) -> float:
        """Record the start of work with `taken` slots in use. Return the factor that scales its time to full load."""
        work.was_started = True
        self._started[work] = asyncio.get_running_loop().time()
        return self._slots() / max(1, taken) if self._shared else 1.0

    def note_missed_deadline(self, work: Work) -> None:
        """Be cautious from now on, unless the deadline was too short for any work: below the mean service time."""
        now = asyncio.get_running_loop().time()
        if self.service_time.mean_s is None or now - work.queued_at >= self.service_time.mean_s:
            self._missed_at = now

    def finish(self, work: Work, scale: float, *, failed: bool) -> None:
        """Learn the service time and the estimate's error from started work that ended."""
        took_s = asyncio.get_running_loop().time() - self._started.pop(work)
        self.service_time.note(took_s / work.cost, scale, failed=failed)
        self.learn_error(work, failed=failed)

    def learn_error(self, work: Work, *, failed: bool) -> None:
        """Learn the error of an estimate from work that ended or was given up now.

        Only default urgency counts: work that arrives later can overtake less urgent work.
        """
        if work.estimated_s and work.urgency == DEFAULT_URGENCY:
            took_s = asyncio.get_running_loop().time() - work.queued_at
            if work.found_free_slot:  # that it ended early says nothing about work that has to wait
                took_s = max(took_s, work.estimated_s)
            self._margin.note(work.estimated_s, took_s, at_least=failed)

    def _mean_wait_s(self, caller: Hashable, cost: float, waiting: Mapping[Hashable, float], taken: int) -> float:
        """Return the estimate without the margin."""
        mean_s = self.service_time.mean_s
        queued = sum(waiting.values())
        if mean_s is None or not (queued or taken):
            return 0.0
        slots = self._slots()
        load = taken + queued + cost
        cautious = self._is_cautious
        if load <= slots and not cautious:
            return 0.0
        # At a shared server with little load, work waits for the running batch, and then for its own, which also holds
        # as many that arrived meanwhile.
        busy = min(slots, 2 * load) if self._shared and cautious else slots
        ahead = fair_cost(caller, cost, waiting)
        return mean_s * (busy + max(0, ahead - max(0, slots - taken))) / slots

    @property
    def _is_cautious(self) -> bool:
        return asyncio.get_running_loop().time() - self._missed_at < CAUTIOUS_S
