"""Name the files that a command leaves out."""
# ruff: noqa: PLC0415 - a command imports what it needs when it runs

from collections.abc import Sequence
from pathlib import Path

import click

from service.tasks.scoring_base import Remark


def say(remarks: Sequence[Remark], folder: Path, label: str = "Left out") -> list[str]:
    """Print a line for each reason on standard error, with the number of files and some names. Return these lines.

    The names are relative to the folder. `label` begins each printed line.
    """
    from service.measure.accuracy import datasets, listing

    lines = list(listing.summary(remarks, folder, datasets.SHOWN))
    for line in lines:
        click.echo(f"{label}: {line}", err=True)
    return lines


def images(folder: Path) -> list[Path]:
    """Return the images under a folder, and name the other files."""
    from service.measure.accuracy import listing

    remarks: list[Remark] = []
    paths = listing.images(folder, remarks)
    say(remarks, folder)
    return paths
