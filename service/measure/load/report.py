"""Reports of a measurement: a JSON document and tables for a terminal."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from service import __version__
from service.measure import machine
from service.measure.load import sweep
from service.measure.load.generator import OK
from service.measure.load.summary import PERCENTILES
from service.measure.load.trial import Trial

HEAD = ("LOAD", "REQ/S", "IMAGES/S", *(f"P{share:g}" for share in PERCENTILES), "MAX", "ERRORS", "SENT LATE P99")
SHOWN_PROCESSES = 8

ReportRow = tuple[str, ...]


def document(target: str, images: Mapping[str, Any], trials: Sequence[Trial], **more: Any) -> dict[str, Any]:
    """Return a measurement as JSON values: the host, the target, the images and every figure."""
    best = sweep.knee(trials)
    return {
        "version": __version__,
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "host": machine.describe(),
        "target": target,
        "images": dict(images),
        **more,
        "trials": [{**asdict(each), "load": {**asdict(each.load), "description": str(each.load)}} for each in trials],
        "knee": None if best is None else str(best.load),
    }


def loads(trials: Sequence[Trial]) -> tuple[ReportRow, list[ReportRow]]:
    """Return the head and a row for each load, with latencies in milliseconds."""
    best = sweep.knee(trials)
    rows: list[ReportRow] = []
    for each in trials:
        summary = each.summary
        latencies = (summary.latency_ms[f"p{share:g}"] for share in PERCENTILES)
        rows.append(
            (
                f"{each.load}{' <- knee' if each is best else ''}",
                f"{summary.requests_per_s:.1f}",
                f"{summary.images_per_s:.1f}",
                *(milliseconds(value) for value in latencies),
                milliseconds(summary.latency_ms["max"]),
                str(summary.errors),
                milliseconds(summary.lag_ms["p99"]),
            )
        )
    return HEAD, rows


def errors(trials: Sequence[Trial]) -> tuple[ReportRow, list[ReportRow]]:
    """Return the head and a row for each load and kind of error; no rows if there were no errors."""
    rows: list[ReportRow] = [
        (str(each.load), outcome, str(count), f"{count / each.summary.requests:.1%}")
        for each in trials
        for outcome, count in sorted(each.summary.outcomes.items())
        if outcome != OK
    ]
    return ("LOAD", "ERROR", "REQUESTS", "SHARE"), rows


def stages(trials: Sequence[Trial]) -> tuple[ReportRow, list[ReportRow]]:
    """Return a row for each load, a column for each stage of `Server-Timing`: median and p99 in milliseconds."""
    names = list(dict.fromkeys(name for each in trials for name in each.summary.stages_ms))
    rows = [
        (
            str(each.load),
            *(
                " / ".join(milliseconds(found.get(share)) for share in ("p50", "p99"))
                for found in (each.summary.stages_ms.get(name, {}) for name in names)
            ),
        )
        for each in trials
    ]
    return ("P50 / P99 OF", *(name.upper() for name in names)), rows if names else []


def processes(trials: Sequence[Trial]) -> tuple[ReportRow, list[ReportRow]]:
    """Return the CPU and memory use of the server's busiest processes under the last load."""
    found = trials[-1].processes[:SHOWN_PROCESSES] if trials else []
    rows: list[ReportRow] = [(each.command, str(each.pid), f"{each.cores:.2f}", f"{each.rss_mb:.0f}") for each in found]
    return ("SERVER PROCESS", "PID", "CORES", "MB RESIDENT"), rows


def milliseconds(value: float | None) -> str:
    """Format milliseconds with at most two decimals, or a dash if there were too few requests for the figure."""
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


TABLES = (loads, errors, stages, processes)
