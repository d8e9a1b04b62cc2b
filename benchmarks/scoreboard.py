"""The performance targets ("bars") of this service, computed within each repeat: least, median and most."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Measures = Mapping[str, float]  # the figures of one repeat, by name
Figure = Callable[[Measures], float]  # a figure computed from them

PEERS = ("mosec", "litserve", "bentoml", "ray", "mlserver", "pytriton", "torchserve", "fastapi")
CALLER_COUNTS = (8, 16, 32, 64, 128)  # the best of these is compared with MANY_CALLERS
MANY_CALLERS = 256
IMAGES = 32  # in one request
NOT_MEASURED = "not measured"


@dataclass(frozen=True)
class Bar:
    """A figure computed from those of a repeat, and its lower or upper bound. Without a bound it is only reported.

    A bound with `needs` counts only on machines with that property; elsewhere the figure is only reported.

    `figure` raises `KeyError` or `ValueError` if one of the figures that it needs was not measured.
    """

    what: str
    figure: Figure
    at_least: float | None = None
    at_most: float | None = None
    unit: str = ""
    needs: str = ""
    counts: bool = True

    @property
    def bound(self) -> str:
        """The bound as text, or a dash."""
        condition = f" with {self.needs}" if self.needs else ""
        if self.at_least is not None:
            return f"≥ {self.at_least:g}{self.unit}{condition}"
        return "-" if self.at_most is None else f"≤ {self.at_most:g}{self.unit}{condition}"

    def holds(self, value: float) -> bool | None:
        """Return whether a value meets the bound. Return None without a bound that counts."""
        if not self.counts:
            return None
        if self.at_least is not None:
            return value >= self.at_least
        return None if self.at_most is None else value <= self.at_most

    def values(self, repeats: Sequence[Measures]) -> list[float]:
        """Return the value of each repeat in which all needed figures were measured."""
        found = []
        for each in repeats:
            try:
                found.append(self.figure(each))
            except (KeyError, ValueError):
                continue
        return found


def bars(*, amx: bool) -> list[Bar]:
    """Return all bars, in the order of the table. Some bounds differ, or count only, on processors with AMX."""

    def with_amx(what: str, figure: Figure, at_least: float, otherwise: float | None = None) -> Bar:
        if not amx and otherwise is not None:
            return Bar(what, figure, at_least=otherwise)
        return Bar(what, figure, at_least=at_least, needs="AMX", counts=amx)

    return [
        with_amx("engine, ResNeSt-50, batches of 8: / before", _over_before("engine made-resnest50"), 1.7, 1.2),
        with_amx("engine, DeepLabV3, 520x392: / before", _over_before("engine made-deeplab50"), 3.5, 2),
        with_amx("classify, 16 callers: / before", _over("ours", "before"), 1.6),
        with_amx("classify, mix of uploads, 16 callers: / before", _over("mix ours", "mix before"), 1.8),
        with_amx("segment, 4 callers: / before", _over("segment ours", "segment before"), 3),
        Bar("segment, mix of uploads, 4 callers: / before", _over("segment mix ours", "segment mix before")),
        Bar("null model, 1 image a request: / before", _over("null one", "before null one"), at_least=1.6),
        Bar("classify, 16 callers: / limit without serving", _over("ours", "limit"), at_least=0.88),
        Bar("classify, mix of uploads: / limit without serving", _over("mix ours", "mix limit")),
        Bar("segment, 4 callers: / limit without serving", _over("segment ours", "segment limit"), at_least=0.95),
        *_peers(with_amx),
        Bar("lone request: p50 above in-process p50", _above("lone p50", "in-process p50"), at_most=3.5, unit=" ms"),
        Bar("lone request: p99 above in-process p50", _above("lone p99", "in-process p50"), at_most=10, unit=" ms"),
        Bar("lone request: p99 above in-process p99", _above("lone p99", "in-process p99"), unit=" ms"),
        Bar("12-megapixel JPEG / 0.17-megapixel JPEG", _over("ours 12 MP", "ours"), at_least=0.25),
        Bar(f"null model: {IMAGES} images a request / 1", _over("null many", "null one"), at_least=1.15),
        Bar(f"{MANY_CALLERS} callers / best of fewer", _many_callers, at_least=0.95),
        Bar("gateway, resident, 16 callers", one("gateway MB"), at_most=150, unit=" MB"),
        Bar("classification worker, resident, 16 callers", one("worker MB"), at_most=700, unit=" MB"),
        Bar("gateway with child processes, resident, 16 callers", one("gateway with child processes MB"), unit=" MB"),
        Bar("gateway, resident, after all loads", one("gateway most MB"), unit=" MB"),
        Bar("`run` to first answer", one("first answer"), at_most=10, unit=" s"),
    ]


def _peers(with_amx: Callable[[str, Figure, float], Bar]) -> list[Bar]:
    """Return the bars of the comparisons with other servers."""
    return [
        *(
            Bar(f"same engine: / {peer}", _over("ours", f"same {peer}"), at_least=1.0 if peer == "mosec" else 1.05)
            for peer in PEERS
        ),
        Bar("segment, same engine: / mosec", _over("segment ours", "segment same mosec")),
        *(
            with_amx(f"as users write it (fp32 eager): / {peer}", _over("ours", f"usual {peer}"), 9)
            for peer in ("torchserve", "fastapi")
        ),
        Bar("segment, as users write it: / fastapi", _over("segment ours", "segment usual fastapi")),
    ]


def one(name: str) -> Figure:
    """Return a function that reads one figure."""
    return lambda measures: measures[name]


def _over(name: str, other: str) -> Figure:
    return lambda measures: measures[name] / measures[other]


def _over_before(name: str) -> Figure:
    return _over(name, f"before {name}")


def _above(name: str, other: str) -> Figure:
    return lambda measures: measures[name] - measures[other]


def _many_callers(measures: Measures) -> float:
    fewer = [measures[name] for each in CALLER_COUNTS if (name := f"ours {each}") in measures]
    return measures[f"ours {MANY_CALLERS}"] / max(fewer)


HEAD = ("what", "bar", "least", "median", "most", "repeats", "")


def rows(repeats: Sequence[Measures], given: Sequence[Bar]) -> list[tuple[str, ...]]:
    """Return a row for each of the given bars. The median decides whether a bar is met."""
    return [_row(bar, bar.values(repeats)) for bar in given]


def _row(bar: Bar, values: Sequence[float]) -> tuple[str, ...]:
    if not values:
        return bar.what, bar.bound, "-", "-", "-", "0", NOT_MEASURED
    median = statistics.median(values)
    cells = (_figure(each) + bar.unit for each in (min(values), median, max(values)))
    verdict = {True: "met", False: "**missed**", None: ""}[bar.holds(median)]
    return bar.what, bar.bound, *cells, str(len(values)), verdict


def absolutes(repeats: Sequence[Measures]) -> list[tuple[str, ...]]:
    """Return a row for each measured figure: its name, and least, median and most."""
    names = dict.fromkeys(name for each in repeats for name in each)
    found = {name: [each[name] for each in repeats if name in each] for name in names}
    return [
        (name, *(_figure(each) for each in (min(values), statistics.median(values), max(values))))
        for name, values in found.items()
    ]


def _figure(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table for docs/benchmarks.md."""
    every = (head, ["---"] * len(head), *lines)
    return "".join(f"| {' | '.join(line)} |\n" for line in every)
