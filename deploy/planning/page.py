"""The tables and plots of docs/operations/planning.md."""

from collections.abc import Iterable, Sequence
from functools import cache

from benchmarks.scoreboard import markdown
from deploy.planning import fleet_plan
from deploy.planning.day_shapes import HOUR_S, SHAPES
from deploy.planning.fleet_day import Day, ideal_hours, simulate
from deploy.planning.policies import POLICIES, Fleet
from deploy.planning.server_kinds import Assumptions, ServerKind
from service.measure.charts import PlotLine, line_chart

PEAK_SERVERS = 20  # of the simulated fleets
PLOTTED = ("flash crowd", "day and night")
# The hours that a plot shows, and the minutes between its points.
SPANS = {"flash crowd": (9.75, 11.75, 4), "day and night": (0.0, 24.0, 60)}
LINES = ("GPU utilization 60 %", "images in flight", "both", "both and a schedule")


@cache
def day(kind: ServerKind, shape: str, policy: str) -> Day:
    """Return a day of a fleet whose peak needs `PEAK_SERVERS`."""
    return simulate(_fleet(kind, shape), POLICIES[policy])


def _fleet(kind: ServerKind, shape: str) -> Fleet:
    peak = PEAK_SERVERS * Fleet(kind, 0.0, SHAPES[shape]).planned
    return Fleet(kind, peak * (1 - 1e-9), SHAPES[shape])


def kinds(known: Assumptions) -> str:
    """Return the table of the kinds of servers."""
    head = ("servers", "time of a batch", "largest batch", "images/s", "bound", "cold start", "price an hour", "source")
    rows = [
        (
            f"`{each.name}`",
            f"{1e3 * each.batch_s:.3g} ms + {1e3 * each.image_s:.3g} ms an image",
            str(each.most),
            f"{each.capacity:,.4g}",
            f"{each.bound_s:g} s",
            f"{each.cold_start_s:g} s",
            f"{each.price_per_hour:g}",
            each.source,
        )
        for each in known.kinds
    ]
    return markdown(head, rows)


def policies(kind: ServerKind) -> str:
    """Return the table of all policies over all shapes, for servers of a kind."""
    head = ("policy", *(f"{shape}: hours; missed" for shape in SHAPES), "changes a day")
    rows = [(name, *(_cell(day(kind, shape, name)) for shape in SHAPES), _changes(kind, name)) for name in POLICIES]
    ideal = [f"{ideal_hours(_fleet(kind, shape)):.0f}; 0 %" for shape in SHAPES]
    return markdown(head, [*rows, ("servers that start at once", *ideal, "-")])


def _cell(found: Day) -> str:
    return f"{found.server_hours:.0f}; {_per_cent(found.missed)}"


def _changes(kind: ServerKind, policy: str) -> str:
    counts = [day(kind, shape, policy).changes for shape in SHAPES]
    return f"{min(counts)} to {max(counts)}" if any(counts) else "0"


def _per_cent(share: float) -> str:
    return f"{100 * share:.2g} %" if share >= 1e-5 else "0 %"


def plot(kind: ServerKind, shape: str) -> str:
    """Return a chart of the servers over a part of the day, by policy, as SVG."""
    begin, end, minutes = SPANS[shape]
    lines = [PlotLine(name, [*_points(day(kind, shape, name), begin, end, minutes)]) for name in LINES]
    fleet = _fleet(kind, shape)
    moments = [begin + minutes * index / 60 for index in range(int((end - begin) * 60 / minutes) + 1)]
    needed = [(hour - begin, float(fleet.needed(fleet.peak * fleet.shape(hour * HOUR_S)))) for hour in moments]
    title = f"Servers for a {shape}" if shape == "flash crowd" else f"Servers over {shape}"
    return line_chart(title, f"hours after {begin:g} h", [*lines, PlotLine("needed", needed)], logarithmic=False)


def _points(found: Day, begin: float, end: float, minutes: float) -> Iterable[tuple[float, float]]:
    for second, servers in found.servers:
        if begin * HOUR_S <= second <= end * HOUR_S and second % (60 * minutes) == 0:
            yield second / HOUR_S - begin, float(servers)


def fleets(known: Assumptions) -> str:
    """Return the table of the fleets for the images of a day."""
    head = (
        "servers",
        "peak, images/s",
        "servers in all regions",
        "cost of a million",
        "autoscaled",
        "gateway processes",
        "their cost",
    )
    rows = [
        (
            f"`{found.kind.name}`",
            f"{found.peak:,.0f}",
            f"{found.servers:,}",
            f"{found.cost_per_million:.3g}",
            f"{found.autoscaled_cost_per_million:.3g}",
            f"{found.gateway_processes:,}",
            f"{found.gateway_cost_per_million:.3g}",
        )
        for found in _plans(known)
    ]
    return markdown(head, rows)


def pool(known: Assumptions) -> str:
    """Return the table of what the GPUs of the assumptions answer in a day."""
    rows = [
        (f"`{kind.name}`", f"{fleet_plan.images_per_day(kind, known.service) / 1e9:.3g}")
        for kind in known.kinds
        if kind.name.startswith("gpu")
    ]
    return markdown(("model", "billion images a day"), rows)


def traffic(known: Assumptions) -> str:
    """Return the table of the network's load at the peak."""
    found = fleet_plan.plan(known.kinds[0], known.service)
    rows = [
        ("uploads from callers", f"{found.upload_gigabits:.0f} Gbit/s"),
        ("pixels from gateways to workers", f"{found.pixel_gigabits:.0f} Gbit/s"),
    ]
    return markdown(("way", "at the peak"), rows)


def limits(known: Assumptions, name: str) -> str:
    """Return the table of the limits of a fleet in one piece."""
    rows = [
        (each.name, f"{each.needed:,.0f}", f"{each.limit:,.0f}", f"{each.ratio:.2g}")
        for each in fleet_plan.limits(fleet_plan.plan(known.kind(name), known.service), known.service)
    ]
    return markdown(("limit", "needed", "there is", "ratio"), rows)


def cells(known: Assumptions) -> str:
    """Return the table of the cells into which each fleet is divided."""
    rows: list[Sequence[str]] = []
    for found in _plans(known):
        each = fleet_plan.cell(found)
        rows.append((f"`{found.kind.name}`", f"{each.servers:,}", f"{each.gateways:,}", f"{each.count:,}"))
    return markdown(("servers", "servers of a cell", "gateway processes of a cell", "cells"), rows)


@cache
def _plan(kind: ServerKind, service: tuple[tuple[str, float], ...]) -> fleet_plan.Plan:
    return fleet_plan.plan(kind, dict(service))


def _plans(known: Assumptions) -> list[fleet_plan.Plan]:
    return [_plan(kind, tuple(known.service.items())) for kind in known.kinds]
