"""Shapes of a day: the offered load at each second, as a share of the highest of the day."""

import math
from collections.abc import Callable
from typing import Final

DAY_S: Final = 86_400
HOUR_S: Final = 3600

Shape = Callable[[float], float]


def even(_second: float) -> float:
    """Return the same load all day."""
    return 1.0


def day_and_night(second: float) -> float:
    """Return a load that is five times as high at 15 h as at 3 h."""
    return 0.6 - 0.4 * math.cos(2 * math.pi * (second / HOUR_S - 3) / 24)


def office_hours(second: float) -> float:
    """Return a load from 8 to 18 h with a break at noon, which begins and ends within a quarter of an hour."""
    hour = second / HOUR_S
    return 0.05 + 0.95 * max(0.0, _between(hour, 8, 18) - 0.4 * _between(hour, 12, 13))


def flash_crowd(second: float) -> float:
    """Return half the load of day and night, and four times as much for 20 minutes from 10 h, within a minute."""
    begin, end = 10 * HOUR_S, 10 * HOUR_S + 1200
    rise = min(1.0, max(0.0, (second - begin) / 60)) - min(1.0, max(0.0, (second - end) / 60))
    usual = 0.5 * day_and_night(second)
    return min(1.0, usual * (1 + 3 * rise))


def _between(hour: float, begin: float, end: float) -> float:
    """Return 1 between two hours and 0 outside, with slopes of a quarter of an hour."""
    return min(1.0, max(0.0, (hour - begin) * 4)) - min(1.0, max(0.0, (hour - end) * 4))


SHAPES: Final[dict[str, Shape]] = {
    "even": even,
    "day and night": day_and_night,
    "office hours": office_hours,
    "flash crowd": flash_crowd,
}


def mean(shape: Shape, step_s: int = 60) -> float:
    """Return the mean of a shape over the day."""
    return sum(shape(second) for second in range(0, DAY_S, step_s)) / (DAY_S // step_s)
