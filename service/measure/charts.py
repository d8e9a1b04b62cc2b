"""Line charts and bar charts as SVG, legible on light and on dark pages, without a library for plots."""

import html
import math
from collections.abc import Callable, Sequence
from itertools import cycle
from typing import NamedTuple

WIDTH, HEIGHT = 720, 380
LEFT, RIGHT, TOP, BOTTOM = 64, 90, 28, 44
BAR_LEFT, BAR_HEIGHT, BAR_GAP = 210, 18, 8
COLOURS = ("#4e79d8", "#f28e2b", "#e15759", "#3f9c50", "#9c6bc0", "#8a8a2a")  # contrast of 3 on white and on black
TICKS = 5
# A chart in an <img> follows the reader's system, one in a page follows the page.
STYLE = """text { font: 12px system-ui, sans-serif; fill: #333 } .grid { stroke: #ddd } .mark { stroke: #888 }
@media (prefers-color-scheme: dark) { text { fill: #ccc } .grid { stroke: #444 } }"""


class PlotLine(NamedTuple):
    """A line of a chart: its name and its points."""

    name: str
    points: list[tuple[float, float]]


class PlotBar(NamedTuple):
    """A bar of a chart: its name, its length, the least and the most of several values, and its colour by index."""

    name: str
    value: float
    least: float
    most: float
    colour: int = 0


def line_chart(
    title: str, label: str, lines: Sequence[PlotLine], *, logarithmic: bool, mark: tuple[str, float] | None = None
) -> str:
    """Return a chart of lines with dots. `label` is that of the x axis, `mark` a name and its place on that axis."""
    xs = [x for line in lines for x, _ in line.points] or [1.0]
    ys = [y for line in lines for _, y in line.points] or [1.0]
    to_x = _scale(0, max(xs), LEFT, WIDTH - RIGHT)
    low = 10 ** math.floor(math.log10(max(min(ys), 0.01))) if logarithmic else 0
    high = 10 ** math.ceil(math.log10(max(*ys, low * 10))) if logarithmic else max(ys) * 1.1 or 1
    to_y = _scale(low, high, HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)
    heights = _decades(low, high) if logarithmic else [high * tick / TICKS for tick in range(TICKS + 1)]
    parts = [_title(title, LEFT)]
    parts += [_grid_line(to_y(y), f"{y:g}" if logarithmic else f"{y:.3g}") for y in heights]
    for tick in range(TICKS + 1):
        x = max(xs) * tick / TICKS
        parts.append(f'<text x="{to_x(x):.1f}" y="{HEIGHT - 24}" text-anchor="middle">{x:.3g}</text>')
    parts.append(f'<text x="{WIDTH / 2}" y="{HEIGHT - 6}" text-anchor="middle">{html.escape(label)}</text>')
    if mark is not None:
        x = to_x(mark[1])
        parts.append(f'<path class="mark" d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke-dasharray="4 4"/>')
        parts.append(f'<text x="{x + 4:.1f}" y="{TOP + 12}">{html.escape(mark[0])}</text>')
    parts += [
        _curve(line, colour, to_x, to_y) for line, colour in zip(lines, cycle(COLOURS), strict=False) if line.points
    ]
    return svg(parts, HEIGHT)


def bar_chart(title: str, bars: Sequence[PlotBar]) -> str:
    """Return a chart of horizontal bars, each with its value and a thin line from the least to the most."""
    to_x = _scale(0, max((bar.most for bar in bars), default=1.0), BAR_LEFT, WIDTH - RIGHT)
    parts = [_title(title, 8)]
    for index, bar in enumerate(bars):
        y = TOP + index * (BAR_HEIGHT + BAR_GAP)
        middle, end = y + BAR_HEIGHT / 2, to_x(bar.value)
        parts += [
            f'<text x="{BAR_LEFT - 8}" y="{middle + 4:.1f}" text-anchor="end">{html.escape(bar.name)}</text>',
            f'<rect x="{BAR_LEFT}" y="{y}" width="{end - BAR_LEFT:.1f}" height="{BAR_HEIGHT}" '
            f'fill="{COLOURS[bar.colour % len(COLOURS)]}"/>',
            f'<path class="mark" d="M{to_x(bar.least):.1f} {middle:.1f}H{to_x(bar.most):.1f}"/>',
            f'<text x="{to_x(bar.most) + 6:.1f}" y="{middle + 4:.1f}">{bar.value:.3g}</text>',
        ]
    return svg(parts, TOP + len(bars) * (BAR_HEIGHT + BAR_GAP) + 8)


def svg(parts: Sequence[str], height: float, width: float = WIDTH) -> str:
    """Return the parts as one SVG image that can be a file of its own."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" role="img">'
    return f"{head}<style>{STYLE}</style>{''.join(parts)}</svg>"


def _title(title: str, x: int) -> str:
    return f'<text x="{x}" y="16" font-weight="bold">{html.escape(title)}</text>'


def _curve(line: PlotLine, colour: str, to_x: Callable[[float], float], to_y: Callable[[float], float]) -> str:
    pixels = [(to_x(x), to_y(y)) for x, y in line.points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in pixels)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in pixels)
    x, y = pixels[-1]
    name = f'<text x="{x + 8:.1f}" y="{y + 4:.1f}">{html.escape(line.name)}</text>'
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>{dots}{name}'


def _grid_line(y: float, label: str) -> str:
    return (
        f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>'
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
