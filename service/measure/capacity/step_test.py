"""Measure the capacity of a service with one model server: closed loops, then open loops near the best of them."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from service.measure.capacity.sizing import PLANNED_SHARE, Measured, in_flight
from service.measure.load import session, sweep
from service.measure.load.session import Say, SessionOptions, Watch
from service.measure.load.trial import Trial
from service.measure.load.usage import Usage

CALLERS = (1.0, 4.0, 16.0, 64.0)
SHARES = (0.6, 0.7, 0.8, 0.9, 1.0)  # of the best closed loop
# The processes of a model server, by the names that `usage.name_of` gives them.
WORKERS = ("java", "model_service_worker", "service.worker")

Measure = Callable[[SessionOptions], list[Trial]]


class CapacityError(RuntimeError):
    """The service answered no image, or never within the bound. The message is one sentence for the user."""


def options_of(
    options: SessionOptions, *, callers: Sequence[float] = (), rates: Sequence[float] = ()
) -> SessionOptions:
    """Return the options of one step: closed loops of `callers`, or open loops of `rates`."""
    return replace(options, concurrency=tuple(callers), rate=tuple(rates), is_sweep=False)


async def measure(options: SessionOptions, p95_ms: float, say: Say, watch: Watch) -> tuple[Measured, list[Trial]]:
    """Return the capacity within `p95_ms`, and all loads that were applied.

    Raises `CapacityError`, and what `session.measure` raises.
    """
    trials = await session.measure(options_of(options, callers=CALLERS), say, watch)
    _best_within(trials, p95_ms)  # an open loop keeps no bound that a lone caller does not keep
    _waits(trials[-1])
    best = max(each.summary.requests_per_s for each in trials)
    rates = [share * best for share in SHARES]
    trials += await session.measure(options_of(options, rates=rates), _silently, watch)
    reached = _best_within(trials, p95_ms)
    planned = PLANNED_SHARE * reached.summary.requests_per_s
    (last,) = await session.measure(options_of(options, rates=[planned]), _silently, watch)
    return measured(reached, last), [*trials, last]


def measured(reached: Trial, planned: Trial) -> Measured:
    """Return the capacity from the highest accepted load, and the images in flight from the planned load."""
    return Measured(
        images_per_s=reached.summary.images_per_s,
        in_flight=in_flight(planned.summary.images_per_s, *_waits(planned)),
        gateway_core_s=_gateway_core_s(planned),
    )


def _best_within(trials: Sequence[Trial], p95_ms: float) -> Trial:
    """Return the trial with the highest accepted load. Raises `CapacityError` if none kept the bound."""
    found = sweep.within(trials, p95_ms)
    if found is None:
        raise CapacityError(f"no load had a 95th percentile of at most {p95_ms:g} ms without an error; allow more")
    return found


def _waits(trial: Trial) -> list[float]:
    """Return the mean milliseconds of the stages between decoding and the answer. Raises `CapacityError`."""
    if not trial.summary.images_per_s:
        raise CapacityError("no image was answered while the load was measured; measure longer, with --duration")
    return [_mean(trial, stage) for stage in ("queue", "inference")]


def _mean(trial: Trial, stage: str) -> float:
    """Return the mean milliseconds of a stage. Raises `CapacityError` if the service does not report it."""
    found = trial.summary.stages_ms.get(stage, {}).get("mean")
    if found is None:
        raise CapacityError(f"the service does not report the time of the stage {stage} in Server-Timing")
    return found


def _gateway_core_s(trial: Trial) -> float | None:
    """Return the CPU time of the gateway's processes for an image, in seconds; None if they are not visible."""
    gateways = [each for each in trial.processes if not _is_of_worker(each)]
    if not gateways or not trial.summary.images_per_s:
        return None
    return sum(each.cores for each in gateways) / trial.summary.images_per_s


def _is_of_worker(process: Usage) -> bool:
    return process.command.startswith(WORKERS)


def _silently(_line: str) -> None:
    """Say nothing: the first step has said what is measured."""
