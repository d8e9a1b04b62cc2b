"""What the scaling runs showed, as figures, as a table and as a plot.

`python -m tests.cluster.scaling_figures build/cluster/scaling.json` prints the table. With `--into FOLDER` it
writes the figures and draws the curves.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click
import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from service.measure.tables import table
from tests.cluster.fleet import Sample
from tests.cluster.scaling_runs import RISE_S, RUNS, ScalingRun

HEAD: Final = ("run", "wanted", "most", "enough after s", "turns", "not answered in time", "worker hours", "of ideal")
STYLE: Final[Any] = {"svg.fonttype": "none", "svg.hashsalt": "resnest-service", "font.size": 9}
PLOTTED: Final = {
    "step": "step, as shipped",
    "step-sized": "step, sized by `capacity`",
    "ramp": "ramp, as shipped",
    "ramp-sized": "ramp, sized by `capacity`",
}


@dataclass(frozen=True)
class Figures:
    """What one run showed.

    `wanted` is the number of workers at the highest load, `most` what there were. `enough_s` are the seconds from the
    rise until ready workers could answer all images for good; None if never. `missed_s` are the images that were not
    answered in time, in seconds of the highest load. `ideal` are the worker hours at `PLANNED_SHARE`, without delay.
    """

    wanted: int
    most: int
    enough_s: float | None
    reversals: int
    missed: int
    offered: int
    missed_s: float
    hours: float
    ideal: float


def figures(run: ScalingRun, samples: Sequence[Sample]) -> Figures:
    """Return the figures of a run."""
    short = [each.at for each in samples if each.ready * run.curve.capacity < each.rate]
    later = [each.at for each in samples if each.at > (short[-1] if short else 0.0)]
    hours, ideal = 0.0, 0.0
    for before, after in pairwise(samples):
        hours += (after.at - before.at) * before.workers / 3600
        ideal += (after.at - before.at) * run.wanted(before.at) / 3600
    highest = max(each.rate for each in samples)
    return Figures(
        wanted=max(run.wanted(each.at) for each in samples),
        most=max(each.workers for each in samples),
        enough_s=max(0.0, later[0] - RISE_S) if later else None,
        reversals=reversals([each.workers for each in samples]),
        missed=samples[-1].missed,
        offered=samples[-1].offered,
        missed_s=samples[-1].missed / highest,
        hours=hours,
        ideal=ideal,
    )


def reversals(counts: Sequence[int]) -> int:
    """Return how often the number of workers turned from growing to shrinking or back."""
    changes = [after - before for before, after in pairwise(counts) if after != before]
    return sum(one * two < 0 for one, two in pairwise(changes))


def row(name: str, found: Figures) -> tuple[str, ...]:
    """Return a row of the table."""
    enough = "never" if found.enough_s is None else f"{found.enough_s:.0f}"
    missed = f"{100 * found.missed / found.offered:.1f} % ({found.missed_s:.0f} s of the highest load)"
    share = f"{found.hours / found.ideal:.2f}"
    return name, str(found.wanted), str(found.most), enough, str(found.reversals), missed, f"{found.hours:.2f}", share


def write(path: Path, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Write the samples of all runs as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    document = {name: [each._asdict() for each in found] for name, found in samples.items()}
    path.write_text(json.dumps(document), encoding="utf-8")


def read(path: Path) -> dict[str, list[Sample]]:
    """Return the samples of all runs."""
    document: dict[str, list[dict[str, Any]]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: [Sample(**each) for each in found] for name, found in document.items()}


def draw(path: Path, samples: Mapping[str, Sequence[Sample]]) -> None:
    """Draw load and workers of the runs in `PLOTTED` as SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(10, 6), layout="constrained", facecolor="white")
        grid = figure.subplots(2, 2, sharex=True, sharey=True)
        for axes, (name, title) in zip(grid.flat, PLOTTED.items(), strict=True):
            (run,) = [each for each in RUNS if each.name == name]
            axes.set_title(title, loc="left")
            _draw_run(axes, run, samples[name])
        for axes in grid[1]:
            axes.set_xlabel("minutes")
        figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
        figure.savefig(path, metadata={"Date": None})


def _draw_run(axes: Axes, run: ScalingRun, samples: Sequence[Sample]) -> None:
    times = [each.at / 60 for each in samples]
    steps = {
        "workers for this load at 70 % of their capacity": ("grey", [run.wanted(each.at) for each in samples]),
        "workers": ("#4e79d8", [each.workers for each in samples]),
        "ready workers": ("#3f9c50", [each.ready for each in samples]),
    }
    for label, (colour, counts) in steps.items():
        axes.step(times, counts, where="post", color=colour, label=label)
    load = [each.rate / run.curve.capacity for each in samples]
    axes.plot(times, load, color="#e15759", label="images offered / capacity of a worker")
    missed = [_missed_per_s(*pair) / run.curve.capacity for pair in zip([samples[0], *samples], samples, strict=False)]
    axes.fill_between(times, 0, missed, step="pre", color="#f28e2b", alpha=0.5, label="not answered in time / capacity")
    axes.grid(alpha=0.3)
    axes.set_ylim(0, max(each.workers for each in samples) + 1)


def _missed_per_s(before: Sample, after: Sample) -> float:
    return (after.missed - before.missed) / (after.at - before.at) if after.at > before.at else 0.0


@click.command(help=__doc__)
@click.argument("results", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option(
    "--into", type=click.Path(file_okay=False, path_type=Path), help="Where to write autoscaling.svg and .json."
)
def main(results: Path, into: Path | None) -> None:
    """Print the table, and write the curves and the figures."""
    samples = read(results)
    found = {run.name: figures(run, samples[run.name]) for run in RUNS}
    click.echo(table(HEAD, [row(name, each) for name, each in found.items()]))
    if into is not None:
        draw(into / "autoscaling.svg", samples)
        document = json.dumps({name: asdict(each) for name, each in found.items()}, indent=2)
        (into / "autoscaling.json").write_text(f"{document}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
