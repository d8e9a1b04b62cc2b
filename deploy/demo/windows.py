"""Shorten every window of rules and of Alertmanager by one factor, so that hours of alerts pass in minutes.

Thresholds stay as they are. What the service does takes its own time: a worker that restarts in 6 s is down for two
minutes of a demonstration at a factor of 20.
"""

import re
from typing import Final

FACTOR: Final = 20
DURATION: Final = re.compile(r"(?<![\w.])(\d+)(s|m|h|d)(?!\w)")
SECONDS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
EVENTS: Final = re.compile(r"\* (\d+)(?= >= bool)")  # a rate times the seconds of a window: the events in it


def shortened(text: str, factor: int = FACTOR) -> str:
    """Return a file of rules, or a configuration, whose durations are divided by the factor."""

    def duration(found: re.Match[str]) -> str:
        return f"{int(found[1]) * SECONDS[found[2]] * 1000 // factor}ms"

    return EVENTS.sub(lambda found: f"* {int(found[1]) / factor:g}", DURATION.sub(duration, text))
