"""A self-contained HTML page of a measurement: latency and throughput against load, with the knee marked."""

import html
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from service.measure.load import report, sweep
from service.measure.load.trial import Trial

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 90, 28, 44
COLOURS = {"p50": "#4363d8", "p95": "#f58231", "p99": "#e6194b", "images/s": "#3cb44b"}
TICKS = 5

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .2rem .8rem; text-align: left }}
svg {{ max-width: 100%; height: auto }} text {{ font: 12px system-ui, sans-serif; fill: #333 }}</style>
<h1>{title}</h1><p>{description}</p>
{plots}
{tables}
</html>
"""


class PlotLine(NamedTuple):
    """A line of a chart: its name and its points."""

    name: str
    points: list[tuple[float, float]]


def page(title: str, description: str, trials: Sequence[Trial]) -> str:
    """Return the HTML page of several trials."""
    latencies = [_line(trials, name, name) for name in ("p50", "p95", "p99")]
    throughput = PlotLine("images/s", [(each.load.amount, each.summary.images_per_s) for each in trials])
    label = "callers at a time" if trials[0].load.kind == "closed" else "requests per second offered"
    best = sweep.knee(trials)
    mark = best.load.amount if best else None
    plots = [
        _chart("Latency, ms", label, latencies, mark, logarithmic=True),
        _chart("Images per second", label, [throughput], mark, logarithmic=False),
    ]
    tables = (table(trials) for table in report.TABLES)
    return PAGE.format(
        title=html.escape(title),
        description=html.escape(description),
        plots="\n".join(plots),
        tables="\n".join(_table(head, rows) for head, rows in tables if rows),
    )


def _line(trials: Sequence[Trial], name: str, figure: str) -> PlotLine:
    values = ((each.load.amount, each.summary.latency_ms[figure]) for each in trials)
    return PlotLine(name, [(x, y) for x, y in values if y is not None])


def _chart(title: str, label: str, lines: Sequence[PlotLine], mark: float | None, *, logarithmic: bool) -> str:
    xs = [x for line in lines for x, _ in line.points] or [1.0]
    ys = [y for line in lines for _, y in line.points] or [1.0]
    to_x = _scale(0, max(xs), LEFT, WIDTH - RIGHT)
    low = 10 ** math.floor(math.log10(max(min(ys), 0.01))) if logarithmic else 0
    high = 10 ** math.ceil(math.log10(max(*ys, low * 10))) if logarithmic else max(ys) * 1.1 or 1
    to_y = _scale(low, high, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)
    heights = _decades(low, high) if logarithmic else [high * tick / TICKS for tick in range(TICKS + 1)]
    parts = [f'<text x="{LEFT}" y="16" font-weight="bold">{html.escape(title)}</text>']
    parts += [_grid_line(to_y(y), f"{y:g}" if logarithmic else f"{y:.3g}") for y in heights]
    for tick in range(TICKS + 1):
        x = max(xs) * tick / TICKS
        parts.append(f'<text x="{to_x(x):.1f}" y="{HEIGHT - 24}" text-anchor="middle">{x:.3g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{label}</text>')
    if mark is not None:
        x = to_x(mark)
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#999" stroke-dasharray="4 4"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{TOP + 12}">knee</text>')
    parts += [_curve(line, to_x, to_y) for line in lines if line.points]
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" role="img">{"".join(parts)}</svg>'


def _curve(line: PlotLine, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> str:
    pixels = [(to_x(x), to_y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    colour = COLOURS[line.name]
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in pixels)
    x, y = pixels[-1]
    name = f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{line.name}</text>'
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}{name}'


def _grid_line(y: float, label: str) -> str:
    return (
        f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
        f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>'
    )


def _scale(low: float, high: float, begin: float, end: float, *, logarithmic: bool = False) -> Callable[[float], float]:
    """Return a function from values to pixels."""
    transform: Callable[[float], float] = (lambda value: math.log10(max(value, low))) if logarithmic else float
    start, span = transform(low), (transform(high) - transform(low)) or 1.0
    return lambda value: begin + (transform(value) - start) / span * (end - begin)


def _decades(low: float, high: float) -> list[float]:
    first, last = round(math.log10(low)), round(math.log10(high))
    return [10.0**power for power in range(first, last + 1)]


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(cells)}</table>"
