"""Write the recording rules of the service's objectives: error ratios, burn rates and the error budget left.

    python -m deploy.prometheus.objectives > deploy/prometheus/rules/objectives.yml

The windows and factors are those of chapter 5 of Google's SRE workbook. A page means that 2 % of the budget of 30 days
was spent in one hour, or 5 % in six. A ticket means 10 % in one day or in three. Each pair has a short window, so that
an alert ends soon after its cause.
"""

import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

OBJECTIVES = Path(__file__).with_name("objectives.toml")
BUDGET_WINDOW = "30d"
SHORTEST = "5m"  # the window of the rates that longer windows average
# With fewer failures in these windows there is no alert: one failure of ten requests at night is no outage.
FEWEST_FAILURES = 10
GUARDS = {"page": "1h", "ticket": "6h"}
SECONDS = {"m": 60, "h": 3600, "d": 86_400}
HEADER = """\
# Written by `make objectives` from objectives.toml: change that file.
# `page` and `ticket` are above 1 while the error budget burns too fast in the long and the short window of a pair.
groups:
"""


class Pair(NamedTuple):
    """A long and a short window, and how many times too fast the budget must burn in both."""

    long: str
    short: str
    factor: float


ALERTS = {
    "page": (Pair("1h", "5m", 14.4), Pair("6h", "30m", 6)),
    "ticket": (Pair("1d", "2h", 3), Pair("3d", "6h", 1)),
}


def rules(objectives: dict[str, Any]) -> str:
    """Return the file with a group of rules for each objective."""
    return HEADER + "\n".join(_group(name, each) for name, each in objectives.items())


def _group(name: str, objective: dict[str, Any]) -> str:
    lines = [f"  - name: resnest-objective-{name}", "    rules:"]
    for record, expression in _records(name, objective):
        lines += [f"      - record: {record}", "        expr: |"]
        lines += [f"          {line}" for line in expression.splitlines()]
        lines += ["        labels:", f"          objective: {name}"]
    return "\n".join(lines) + "\n"


def _records(name: str, objective: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names and expressions of an objective's rules, each after those that it reads."""
    budget = round(1 - objective["target"], 6)
    total, bad = (_rate(objective, part, SHORTEST) for part in ("total", "bad"))
    this = f'{{objective="{name}"}}'
    yield "objective:resnest_events:rate5m", total
    # Without a failure so far there is no series of failures: zero of what there is.
    yield "objective:resnest_bad_events:rate5m", f"(\n{bad}\n)\nor\n0 * (\n{total}\n)"
    for window in _windows():
        averages = [
            f"avg_over_time(objective:resnest_{part}:rate5m{this}[{window}])" for part in ("bad_events", "events")
        ]
        ratio = f"{averages[0]}\n/ ({averages[1]} > 0)"
        if window == BUDGET_WINDOW:
            yield "objective:resnest_budget_left:ratio30d", f"1 - ({ratio}) / {budget:g}"
        else:
            yield f"objective:resnest_burn:rate{window}", f"{ratio} / {budget:g}"
    for severity, pairs in ALERTS.items():
        guard = GUARDS[severity]
        # Of the counters themselves: an average of the rates is one over the minutes that a young series has.
        failures = f"(\n{_rate(objective, 'bad', guard)}\n) * {_seconds(guard)}"
        first, second = (_urgency(pair, this) for pair in pairs)
        yield (
            f"objective:resnest_burn:{severity}",
            f"((\n{first}\n>\n{second}\n)\nor\n{second})\n"
            f"* on ({', '.join(objective['by'])}) ({failures} >= bool {FEWEST_FAILURES})",
        )


def _rate(objective: dict[str, Any], part: str, window: str) -> str:
    """Return the rate of an objective's events, or of its bad ones, without those that are excused."""
    total = objective["total"]
    # Without an excused event so far there is no series of them: zero of what there is.
    excused = [f"- ({each} or 0 * {total})" for each in objective.get("excused", ())]
    return "\n".join([objective[part], *excused]).replace("$window", window)


def _windows() -> list[str]:
    used = {window for pairs in ALERTS.values() for pair in pairs for window in pair[:2]}
    return [*sorted(used, key=_seconds), BUDGET_WINDOW]


def _seconds(window: str) -> int:
    return int(window[:-1]) * SECONDS[window[-1]]


def _urgency(pair: Pair, this: str) -> str:
    """Return the lower of a pair's two burn rates, as a multiple of its factor."""
    long, short = (f"objective:resnest_burn:rate{window}{this}" for window in pair[:2])
    return f"(({long} < {short}) or {short}) / {pair.factor:g}"


if __name__ == "__main__":
    sys.stdout.write(rules(tomllib.loads(OBJECTIVES.read_text(encoding="utf-8"))))
