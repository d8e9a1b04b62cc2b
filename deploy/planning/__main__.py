"""`python -m deploy.planning`: compute the tables and plots of docs/operations/planning.md from `assumptions.toml`.

With `--capacity FILE`, which `resnest-service capacity --json` has written, print the policies for that server instead.
"""

from pathlib import Path

import click

from benchmarks.report import replace
from deploy.planning import page, server_kinds
from deploy.planning.server_kinds import Assumptions

DOCS = Path(__file__).parents[2] / "docs/operations"
# The tables of policies, and the fleet whose limits are shown.
COMPARED = ("gpu-classifier", "cpu-classifier")
IN_ONE_PIECE = "gpu-segmenter"


def parts(known: Assumptions) -> dict[str, str]:
    """Return the generated parts of the page by their marks."""
    return {
        "kinds": page.kinds(known),
        **{f"policies {name}": page.policies(known.kind(name)) for name in COMPARED},
        "fleets": page.fleets(known),
        "pool": page.pool(known),
        "traffic": page.traffic(known),
        "limits": page.limits(known, IN_ONE_PIECE),
        "cells": page.cells(known),
    }


def plots(known: Assumptions) -> dict[str, str]:
    """Return the plots by the names of their files."""
    return {f"{shape.replace(' ', '-')}.svg": page.plot(known.kind(COMPARED[0]), shape) for shape in page.PLOTTED}


@click.command()
@click.option("--capacity", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--bound", default=0.5, show_default=True, help="Latency bound of an image in seconds, with --capacity.")
@click.option(
    "--cold-start", default=60.0, show_default=True, help="Seconds until a new server is ready, with --capacity."
)
def main(capacity: Path | None, bound: float, cold_start: float) -> None:
    """Write the tables and plots, or print the policies for a measured server."""
    if capacity is not None:
        more = {"bound_s": bound, "cold_start_s": cold_start, "price_per_hour": 1.0}
        click.echo(page.policies(server_kinds.measured(capacity, capacity.stem, more)))
        return
    known = server_kinds.read()
    for name, text in parts(known).items():
        replace(DOCS / "planning.md", name, text)
    for name, text in plots(known).items():
        (DOCS / "charts" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
