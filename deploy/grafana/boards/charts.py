"""`python -m deploy.grafana.boards.charts FOLDER`: draw each dashboard from a running Prometheus, without Grafana.

Every panel is drawn from its own queries over the last minutes. The images of docs/operations/dashboards.md are made
so.
"""

import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import httpx
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from deploy.grafana.boards.__main__ import BOARDS
from deploy.grafana.boards.panels import Board, Heatmap, Panel, Query

ACROSS = 3  # panels side by side
WIDTH, HEIGHT = 15.0, 2.4  # inches: of an image, of a panel
POINTS = 150  # of a line
SCRAPE_S = 15
MOST_NAMES = 5  # in a legend
CHOSEN = {"job": ".+", "instance": ".+", "route": ".+", "model": ".+"}
Series = list[dict[str, Any]]


class Span:
    """The last minutes of a Prometheus, in which queries are asked with the variables of a dashboard filled in."""

    def __init__(self, url: str, minutes: float, variables: Mapping[str, str]) -> None:
        self._url = url
        self._end = time.time()
        self.minutes = minutes
        self._step_s = max(1.0, 60 * minutes / POINTS)
        interval = f"{math.ceil(max(4 * SCRAPE_S, self._step_s))}s"
        self._variables = {**CHOSEN, **variables, "__rate_interval": interval}

    def ask(self, query: Query) -> Series:
        """Return the series of a query, each with its labels and its values. Raises `httpx.HTTPError`."""
        text = query.expression
        for name in sorted(self._variables, key=len, reverse=True):
            text = text.replace(f"${name}", self._variables[name])
        span = {"start": self._end - 60 * self.minutes, "end": self._end, "step": self._step_s}
        answer = httpx.get(f"{self._url}/api/v1/query_range", params={"query": text, **span}, timeout=30)
        found: Series = answer.raise_for_status().json()["data"]["result"]
        return found

    def minutes_of(self, values: Any) -> Any:
        """Return the times of a series' values in minutes before the end."""
        return (np.array([float(at) for at, _ in values]) - self._end) / 60


def draw(board: Board, span: Span) -> bytes:
    """Return the panels of a dashboard as a PNG."""
    lines = [(row, -(-len(row.panels) // ACROSS)) for row in board.rows]
    height = sum(count for _, count in lines)
    figure = Figure(figsize=(WIDTH, HEIGHT * height), layout="constrained", dpi=72)
    grid = figure.add_gridspec(height, ACROSS)
    top = 0
    for row, count in lines:
        for index, panel in enumerate(row.panels):
            axes = figure.add_subplot(grid[top + index // ACROSS, index % ACROSS])
            axes.set_title(f"{row.title}: {panel.title}", fontsize=9, loc="left")
            _draw_panel(axes, panel, span)
        top += count
    out, small = io.BytesIO(), io.BytesIO()
    figure.savefig(out, format="png")
    Image.open(out).convert("RGB").quantize(48).save(small, "PNG", optimize=True)
    return small.getvalue()


def _draw_panel(axes: Axes, panel: Panel, span: Span) -> None:
    axes.tick_params(labelsize=7)
    axes.grid(alpha=0.3)
    if isinstance(panel, Heatmap):
        _draw_buckets(axes, span.ask(panel.queries[0]), span)
        return
    lines = [
        (_legend(query.legend, series["metric"]), span.minutes_of(series["values"]), values)
        for query in panel.queries
        for series in span.ask(query)
        if np.isfinite(values := np.array([float(value) for _, value in series["values"]])).any()
    ]
    lines.sort(key=lambda line: -float(np.nanmax(line[2])))  # the legend has room for the highest
    for index, (name, times, values) in enumerate(lines):
        axes.plot(times, values, linewidth=1, label=name if index < MOST_NAMES else None)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _written(value, panel.unit)))
    axes.set_xlim(-span.minutes, 0)
    if lines:
        axes.legend(fontsize=6, loc="upper left", framealpha=0.6)
    else:
        axes.text(0.5, 0.5, "no data", transform=axes.transAxes, ha="center", color="grey")


def _draw_buckets(axes: Axes, found: Series, span: Span) -> None:
    """Draw how many requests a second ended within each bucket of a histogram, which counts all below its edge."""
    buckets = sorted(found, key=lambda series: float(series["metric"]["le"]))
    if not buckets:
        return
    counts = np.array([[float(value) for _, value in series["values"]] for series in buckets])
    times = span.minutes_of(buckets[0]["values"])
    axes.pcolormesh(times, range(len(buckets)), np.diff(counts, axis=0, prepend=0), cmap="Blues", shading="nearest")
    axes.set_yticks(range(0, len(buckets), 3), [series["metric"]["le"] for series in buckets[::3]])


def _legend(legend: str, labels: Mapping[str, str]) -> str:
    for name, value in labels.items():
        legend = legend.replace(f"{{{{{name}}}}}", value)
    return legend.replace("{{route}}", "").replace("{{model}}", "").strip()


def _written(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{100 * value:g} %"
    if unit == "bytes":
        return f"{value / 2**20:g} MiB"
    return f"{value:g} s" if unit == "s" else f"{value:g}"


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--prometheus", "url", default="http://127.0.0.1:9090", show_default=True)
@click.option("--minutes", default=10.0, show_default=True)
@click.option("--variable", "given", multiple=True, help="A text box of a dashboard, such as knee=120.")
def main(folder: Path, url: str, minutes: float, given: tuple[str, ...]) -> None:
    """Draw each dashboard into FOLDER from what a Prometheus has of the last minutes."""
    typed = dict(each.split("=", 1) for each in given)
    for make in BOARDS:
        board = make()
        span = Span(url, minutes, {**{box.name: box.value for box in board.boxes}, **typed})
        (folder / f"{board.uid}.png").write_bytes(draw(board, span))


if __name__ == "__main__":
    main()
