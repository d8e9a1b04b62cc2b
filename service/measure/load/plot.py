"""A self-contained HTML page of a measurement: latency and throughput against load, with the knee marked."""

import html
from collections.abc import Sequence

from service.measure.charts import PlotLine, line_chart
from service.measure.load import report, sweep
from service.measure.load.trial import Trial

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem auto; max-width: 62rem }}
table {{ border-collapse: collapse; font-variant-numeric: tabular-nums }}
td, th {{ padding: .2rem .8rem; text-align: left }}
svg {{ max-width: 100%; height: auto }} :root {{ color-scheme: light dark }}</style>
<h1>{title}</h1><p>{description}</p>
{plots}
{tables}
</html>
"""


def page(title: str, description: str, trials: Sequence[Trial]) -> str:
    """Return the HTML page of several trials."""
    latencies = [_line(trials, name, name) for name in ("p50", "p95", "p99")]
    throughput = PlotLine("images/s", [(each.load.amount, each.summary.images_per_s) for each in trials])
    label = "callers at a time" if trials[0].load.kind == "closed" else "requests per second offered"
    best = sweep.knee(trials)
    mark = ("knee", best.load.amount) if best else None
    plots = [
        line_chart("Latency, ms", label, latencies, mark=mark, logarithmic=True),
        line_chart("Images per second", label, [throughput], mark=mark, logarithmic=False),
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


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    cells = [f"<tr>{''.join(f'<th>{html.escape(cell)}</th>' for cell in head)}</tr>"]
    cells += [f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows]
    return f"<table>{''.join(cells)}</table>"
