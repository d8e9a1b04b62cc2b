"""Text tables for a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

MEASURED_NAMES: Final = {"miou": "mean_iou"}  # figures with another name in `[measured]` than in `[published]`
STARRED: Final = "* measured by this project"  # what the mark of `stated` means

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # its head, and its rows


def text(parts: Sequence[Table | str]) -> str:
    """Return tables and sentences as text, with an empty line between them."""
    return "\n\n".join(part if isinstance(part, str) else table(*part) for part in parts)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as text, each column as wide as its widest cell."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    lines = (
        "  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )
    return "\n".join(lines)


def stated(published: Mapping[str, Any], measured: Mapping[str, Any], name: str) -> str:
    """Return a figure of a card in per cent: its authors' one, or this project's with a `*`, or `-`.

    Figures in `measured` are shares of 1.
    """
    if name in published:
        return f"{published[name]:.2f}"
    own = measured.get(name, measured.get(MEASURED_NAMES.get(name, name)))
    return "-" if own is None else f"{100 * own:.2f}*"
