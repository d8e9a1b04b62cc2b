"""`python -m benchmarks.report`: put the newest results of `benchmarks.bars` into the pages and draw the charts.

It reads `bars.json`. In each page it replaces the lines between `<!-- NAME begin -->` and `<!-- NAME end -->`, so that
every figure of a table comes from one run.
"""

import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import click

from benchmarks import scoreboard
from benchmarks.scoreboard import PEERS, Bar, Measures
from service.measure.charts import PlotBar, PlotLine, bar_chart, line_chart

# The rows of README, by the name of the bar, and what README calls them.
README_ROWS: Final = {
    "classify, 16 callers: / limit without serving": "images/s over HTTP, relative to the engine without serving",
    "same engine: / mosec": "relative to the same engine in mosec",
    "same engine: / bentoml": "relative to the same engine in BentoML",
    "same engine: / ray": "relative to the same engine in Ray Serve",
    "as users write it (fp32 eager): / torchserve": "relative to TorchServe with an eager network",
    "as users write it (fp32 eager): / fastapi": "relative to FastAPI with an eager network",
    "lone request: p50 above in-process p50": "latency that the service adds to a single request",
}
README_HEAD: Final = ("measure", "result (least to most)", "target")
THROUGHPUT, LATENCY = "throughput.svg", "latency.svg"


@click.command()
@click.option("--results", type=click.Path(path_type=Path), default="benchmarks/results/bars.json", show_default=True)
@click.option("--page", type=click.Path(path_type=Path), default="docs/benchmarks.md", show_default=True)
@click.option("--readme", type=click.Path(path_type=Path), default="README.md", show_default=True)
@click.option("--images", type=click.Path(path_type=Path), default="docs/images", show_default=True)
def main(results: Path, page: Path, readme: Path, images: Path) -> None:
    """Rewrite the tables of the pages, and the charts."""
    document = json.loads(results.read_text(encoding="utf-8"))
    repeats = document["repeats"]
    bars = scoreboard.bars(amx=document["host"]["amx"])
    replace(page, "bars", f"{origin(document)}\n\n{scoreboard.markdown(scoreboard.HEAD, measured(repeats, bars))}")
    replace(readme, "speed", f"{origin(document)}\n\n{scoreboard.markdown(README_HEAD, short_rows(repeats, bars))}")
    images.mkdir(parents=True, exist_ok=True)
    (images / THROUGHPUT).write_text(throughput_chart(repeats), encoding="utf-8")
    (images / LATENCY).write_text(latency_chart(repeats), encoding="utf-8")


def replace(path: Path, name: str, content: str) -> None:
    """Replace what is between the two marks of this name. Raises `click.ClickException` for a page without them."""
    begin, end = (f"<!-- {name} {place} -->\n" for place in ("begin", "end"))
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise click.ClickException(f"{path} has no lines {begin.strip()} and {end.strip()}")
    path.write_text(f"{before}{begin}\n{content}\n{end}{after}", encoding="utf-8")


def origin(document: Mapping[str, Any]) -> str:
    """Return the machine, the date, the commit and the command of a run, as Markdown."""
    host = document["host"]
    return (
        f"ResNeSt-50 and DeepLabV3-ResNeSt-50 (150 classes) with made weights, 335x500 JPEG, {host['cores']} cores of "
        f"{host['processor']} {'with' if host['amx'] else 'without'} AMX, load generator on the same cores, "
        f"{document['measured_at'][:10]}, at {document['commit']}.\n`{document['command']}`: {document['schedule']}."
    )


def measured(repeats: Sequence[Measures], bars: Sequence[Bar]) -> list[tuple[str, ...]]:
    """Return the rows of the bars that the run measured."""
    return [row for row in scoreboard.rows(repeats, bars) if row[-1] != scoreboard.NOT_MEASURED]


def short_rows(repeats: Sequence[Measures], bars: Sequence[Bar]) -> list[tuple[str, ...]]:
    """Return the rows of README: throughput first, then the bars of `README_ROWS` that the run measured."""
    by_name = {row[0]: row for row in measured(repeats, bars)}
    rows: list[tuple[str, ...]] = [("images/s over HTTP", _range(repeats, "ours"), "")]
    for name, what in README_ROWS.items():
        if name in by_name:
            _, bound, least, median, most, *_ = by_name[name]
            rows.append((what, f"{median} ({least} to {most})", "" if bound == "-" else bound))
    return rows


def throughput_chart(repeats: Sequence[Measures]) -> str:
    """Return the images per second of this service and its peers, with the same engine and as users write it."""
    groups = {"same": "same engine", "usual": "as users write it"}
    names = [("limit", "engine without serving", 2), ("ours", "resnest-service", 0)]
    names += [(f"same {peer}", f"{peer}, {groups['same']}", 1) for peer in PEERS]
    names += [(f"usual {peer}", f"{peer}, {groups['usual']}", 3) for peer in PEERS]
    bars = [PlotBar(label, *_spread(repeats, name), colour) for name, label, colour in names if _values(repeats, name)]
    return bar_chart("Images per second, ResNeSt-50, 16 callers", bars)


def latency_chart(repeats: Sequence[Measures]) -> str:
    """Return the latency of independent callers at each load, of this service and the fastest peer."""
    lines = []
    for name, label in (("ours", "ours"), ("same mosec", "mosec")):
        for share in ("p50", "p99"):
            loads = [each for each in _names(repeats) if each.startswith(f"{name} at ") and each.endswith("%")]
            points = [
                (_spread(repeats, load)[0], _spread(repeats, f"{load} {share}")[0])
                for load in loads
                if _values(repeats, f"{load} {share}")
            ]
            lines.append(PlotLine(f"{label} {share}", sorted(points)))
    return line_chart("Latency in ms, independent callers", "images per second", lines, logarithmic=True)


def _names(repeats: Sequence[Measures]) -> list[str]:
    return list(dict.fromkeys(name for each in repeats for name in each))


def _values(repeats: Sequence[Measures], name: str) -> list[float]:
    return [each[name] for each in repeats if name in each]


def _spread(repeats: Sequence[Measures], name: str) -> tuple[float, float, float]:
    """Return median, least and most."""
    values = _values(repeats, name)
    return statistics.median(values), min(values), max(values)


def _range(repeats: Sequence[Measures], name: str) -> str:
    median, least, most = _spread(repeats, name)
    return f"{median:.1f} ({least:.1f} to {most:.1f})"


if __name__ == "__main__":
    main()
