"""Parameters of which every commit needs only the edges."""

from collections.abc import Iterable
from typing import Any

import pytest


def edges(values: Iterable[Any], *kept: object) -> list[Any]:
    """Return parameters for these values. All but the kept ones are marked `stress`; one at least must be kept."""
    values = list(values)
    if not any(value in kept for value in values):
        raise ValueError(f"none of {values} is kept for every commit")
    return [value if value in kept else pytest.param(value, marks=pytest.mark.stress) for value in values]
