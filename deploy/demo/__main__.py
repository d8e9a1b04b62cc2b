"""`python -m deploy.demo`: break a real service in four ways, and show which alerts fire, are sent and resolve.

A worker, a gateway, Prometheus, Alertmanager and the example receiver run on loopback, with the files of `deploy`. All
windows of the rules are divided by one factor. Exits with 1 if an alert that must fire does not, or another one does.
"""

import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import aiohttp
import click

from deploy.demo import plant as plants
from deploy.demo.history import Episode, History
from deploy.demo.plant import Plant
from deploy.demo.programs import Monitoring, monitoring
from deploy.demo.scenarios import SCENARIOS, Scenario
from deploy.demo.windows import FACTOR
from service.measure.tables import table

POLL_S = 0.5
QUIET_S = 20.0  # of ordinary traffic before the first scenario
CLEAR_S = 150.0  # at most, for the alerts of a scenario to resolve; those on budgets of hours and days may stay
LASTING = frozenset(("ErrorBudgetBurningFast", "ErrorBudgetBurningSlowly"))
BACKGROUND = 4  # callers who send an image every 0.2 s all the time
HEAD = ("scenario", "alert", "severity", "should", "fired s", "sent s", "resolved s", "")


class Demonstration:
    """Runs the scenarios one after the other, and keeps the rows of the table."""

    def __init__(self, plant: Plant, watched: Monitoring, scenarios: Sequence[Scenario] = SCENARIOS) -> None:
        self._scenarios = scenarios
        self._plant = plant
        self._watched = watched
        self._history = History(watched.notifications)
        self.rows: list[tuple[str, ...]] = []
        self.wrong: list[str] = []

    async def run(self) -> None:
        """Run all scenarios under ordinary traffic."""
        watching = asyncio.create_task(self._watch())
        total = QUIET_S + sum(each.seconds + CLEAR_S + POLL_S for each in self._scenarios)
        background = [asyncio.create_task(self._plant.call(2 * total, pause_s=0.2)) for _ in range(BACKGROUND)]
        try:
            await asyncio.sleep(QUIET_S)
            for scenario in self._scenarios:
                await self._show(scenario)
        finally:
            for task in (watching, *background):
                task.cancel()
            await asyncio.gather(watching, *background, return_exceptions=True)

    async def _show(self, scenario: Scenario) -> None:
        begun, first = time.monotonic(), len(self._history.episodes)
        click.echo(f"{scenario.name}: {scenario.cause}, for {scenario.seconds:g} s")
        await scenario.run(self._plant, scenario.seconds)
        for _ in range(int(CLEAR_S / POLL_S)):
            await asyncio.sleep(POLL_S)
            if not self._lasting():
                break
        await asyncio.sleep(2 * POLL_S)  # for the notifications of what has just resolved
        self._judge(scenario, self._history.episodes[first:], begun)

    def _judge(self, scenario: Scenario, episodes: list[Episode], begun: float) -> None:
        fired = {each.alert for each in episodes}
        for each in sorted(episodes, key=lambda each: each.fired_s):
            should = "fire" if each.alert in scenario.must else "may fire" if each.alert in scenario.may else "not fire"
            verdict = "WRONG" if should == "not fire" else "ok"
            times = (_since(at, begun) for at in (each.fired_s, each.sent_s, each.resolved_s))
            self._add(scenario, each.alert, each.severity, should, *times, verdict)
        if scenario.must and not scenario.must & fired:
            self._add(scenario, " or ".join(sorted(scenario.must)), "", "fire", "-", "-", "-", "WRONG")
        pages = sum(each.severity == "page" and each.sent_s is not None for each in episodes)
        wanted = "any" if scenario.pages is None else str(scenario.pages)
        verdict = "ok" if scenario.pages in {None, pages} else "WRONG"
        self._add(scenario, f"alerts that paged: {pages}", "", wanted, "", "", "", verdict)

    def _add(self, scenario: Scenario, *cells: str) -> None:
        self.rows.append((scenario.name, *cells))
        if cells[-1] == "WRONG":
            self.wrong.append(f"{scenario.name}: {cells[0]}")

    def _lasting(self) -> bool:
        return any(each.alert not in LASTING for each in self._history.open)

    async def _watch(self) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, TimeoutError):  # Prometheus is slow; the next look counts
                    async with session.get(f"{self._watched.prometheus}/api/v1/alerts") as answer:
                        alerts = (await answer.json())["data"]["alerts"]
                    self._history.see(alerts, time.monotonic())
                await asyncio.sleep(POLL_S)


def _since(at: float | None, begun: float) -> str:
    return "-" if at is None else f"{at - begun:.0f}"


@click.command(help=__doc__)
@click.option("--factor", default=FACTOR, show_default=True, help="By which all windows are divided.")
@click.option("--only", type=click.Choice([each.name for each in SCENARIOS]), multiple=True, help="Some scenarios.")
def main(factor: int, only: tuple[str, ...]) -> None:
    """Run the demonstration, and print its table."""
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="demo-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        click.echo("starting the service, Prometheus and Alertmanager")
        with plants.running(folder) as plant, monitoring(folder, plant.address, factor) as watched:
            chosen = [each for each in SCENARIOS if not only or each.name in only]
            demonstration = Demonstration(plant, watched, chosen)
            asyncio.run(demonstration.run())
    click.echo(f"\nSeconds since the begin of each scenario; windows are divided by {factor}, so 15 s are 5 min.\n")
    click.echo(table(HEAD, demonstration.rows))
    click.echo(f"\n{time.monotonic() - begun:.0f} s; wrong: {', '.join(demonstration.wrong) or 'nothing'}")
    sys.exit(bool(demonstration.wrong))


if __name__ == "__main__":
    main()
