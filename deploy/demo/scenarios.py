"""What goes wrong in the demonstration, and which alerts that should and should not raise."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from deploy.demo.plant import BROKEN, MAIN, Plant

# Raised by failures of any kind, if they are many enough. They are allowed where requests may fail for seconds.
SYMPTOMS: Final = frozenset(("GatewayErrors", "ErrorBudgetBurningFast", "ErrorBudgetBurningSlowly", "ImagesFailing"))


@dataclass(frozen=True)
class Scenario:
    """Something that goes wrong for `seconds`, the alerts that it raises, and how many alerts page.

    One of `must` has to fire: which one may depend on how fast this machine restarts a worker. Those of `may` can fire
    too. `pages` is None if it depends on that.
    """

    name: str
    cause: str
    seconds: float
    run: Callable[[Plant, float], Awaitable[None]]
    must: frozenset[str] = frozenset()
    may: frozenset[str] = frozenset()
    pages: int | None = None


async def slow_callers(plant: Plant, seconds: float) -> None:
    """Upload byte by byte, and set deadlines that no model can meet."""
    await asyncio.gather(
        *(plant.call_slowly(seconds) for _ in range(4)),
        *(plant.call(seconds, pause_s=0.2, headers={"Request-Timeout": "0.001"}) for _ in range(4)),
    )


async def killed_workers(plant: Plant, seconds: float) -> None:
    """Kill a worker process of the model every few seconds, as the kernel does when memory runs out."""
    clock = asyncio.get_running_loop().time
    end = clock() + seconds
    while clock() < end:
        plant.kill_worker(MAIN)
        await asyncio.sleep(5)


async def broken_model(plant: Plant, seconds: float) -> None:
    """Damage the card of a model without callers, and end its worker, which cannot start again."""
    with plant.damaged(BROKEN):
        plant.kill_worker(BROKEN)
        await asyncio.sleep(seconds)


async def overload(plant: Plant, seconds: float) -> None:
    """Send more than the model can answer; who is rejected tries again at once."""
    await asyncio.gather(*(plant.call(seconds, pause_s=0.1, images=4) for _ in range(48)))


SCENARIOS: Final = (
    Scenario(
        "slow callers",
        "4 callers upload 1 byte/s, 4 set a deadline of 1 ms",
        45,
        slow_callers,
        pages=0,
    ),
    Scenario(
        "killed worker",
        "a worker process is killed every 5 s, another one answers",
        45,
        killed_workers,
        frozenset(("WorkersRestarting", "WorkersMissing")),
        SYMPTOMS | {"ModelNotReady", "CircuitBreakerOpen", "GatewayNotReady", "Overloaded", "QueueSaturated"},
    ),
    Scenario(
        "broken model",
        "the card of a second model is damaged, and its worker ends",
        45,
        broken_model,
        frozenset(("ModelNotReady",)),
        frozenset(("WorkersMissing", "WorkersRestarting", "ErrorBudgetBurningSlowly")),
        pages=1,
    ),
    Scenario(
        "overload",
        "48 callers of 4 images each against 32 slots",
        60,
        overload,
        frozenset(("Overloaded",)),
        SYMPTOMS | {"QueueSaturated", "HighLatency"} - {"ImagesFailing"},
        pages=1,
    ),
)
