"""Describe panels, rows and dashboards, and build them with Grafana's foundation SDK, which knows Grafana's schema."""

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from grafana_foundation_sdk.builders import common as parts
from grafana_foundation_sdk.builders import dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heatmaps
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

SOURCE = models.DataSourceRef("prometheus", "${datasource}")
COLUMNS = 24
GRAPH_HEIGHT, STAT_HEIGHT = 8, 4
RULES = Path(__file__).parents[2] / "prometheus/rules"
ALERTS = [
    name
    for path in sorted(RULES.glob("*.yml"))
    for name in re.findall(r"alert: (\w+)", path.read_text(encoding="utf-8"))
]
DASHED = models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [8, 6]})
UNFILLED = models.DynamicConfigValue("custom.fillOpacity", 0)

Builder = timeseries.Panel | heatmap.Panel | stat.Panel


@dataclass(frozen=True)
class Query:
    """A query, the legend of its series, and whether it shows exemplars, which lead to traces."""

    expression: str
    legend: str
    has_exemplars: bool = False

    def build(self, ref: str, *, is_heatmap: bool) -> prometheus.Dataquery:
        """Return the SDK's query under the name `ref`."""
        built = prometheus.Dataquery().expr(self.expression).legend_format(self.legend).ref_id(ref)
        built = built.datasource(SOURCE).editor_mode(QueryEditorMode.CODE).range().exemplar(self.has_exemplars)
        return built.format(PromQueryFormat.HEATMAP) if is_heatmap else built


class Steps:
    """The colours of a value: each colour with the value from which on it holds, None for the first."""

    def __init__(self, *steps: tuple[str, float | None]) -> None:
        self.steps = steps

    def build(self) -> dashboard.ThresholdsConfig:
        """Return the SDK's thresholds."""
        steps = [models.Threshold(value=value, color=colour) for colour, value in self.steps]
        return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


class Panel(ABC):
    """A panel: its title, what it shows in words, the unit of its values by Grafana's name, and its queries."""

    height = GRAPH_HEIGHT

    def __init__(self, title: str, description: str, unit: str, *queries: Query) -> None:
        self.title = title
        self.description = description
        self.unit = unit
        self.queries = queries

    def build(self, number: int, width: int) -> Builder:
        """Return the SDK's panel, `width` of 24 columns wide."""
        built = self.frame().id(number).title(self.title).description(self.description).unit(self.unit)
        built = built.datasource(SOURCE).span(width).height(self.height).links([*self._runbooks()])
        for index, query in enumerate(self.queries):
            built = built.with_target(query.build(chr(ord("A") + index), is_heatmap=isinstance(built, heatmap.Panel)))
        return built

    @abstractmethod
    def frame(self) -> Builder:
        """Return a panel of this kind without title, unit and queries."""

    def _runbooks(self) -> Iterator[dashboard.DashboardLink]:
        """Yield a link to the runbook of each alert that the description names."""
        for name in ALERTS:
            if re.search(rf"\b{name}\b", self.description):
                link = dashboard.DashboardLink(f"Runbook: {name}").type(models.DashboardLinkType.LINK)
                yield link.url(f"${{runbooks}}#{name.lower()}").target_blank(True)


class Graph(Panel):
    """Lines over time from `least` to `most`; `dashed` is the end of the legends of limits."""

    def __init__(
        self,
        title: str,
        description: str,
        unit: str,
        *queries: Query,
        least: float | None = 0,
        most: float | None = None,
        style: Literal["line", "stack", "step"] = "line",
        dashed: str = "",
    ) -> None:
        super().__init__(title, description, unit, *queries)
        self._least = least
        self._most = most
        self._style = style
        self._dashed = dashed

    def frame(self) -> timeseries.Panel:
        """Implement `Panel`."""
        legend = parts.VizLegendOptions().display_mode(kinds.LegendDisplayMode.TABLE).show_legend(True)
        legend = legend.placement(kinds.LegendPlacement.BOTTOM).calcs(["mean", "max", "lastNotNull"])
        tooltip = parts.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI).sort(kinds.SortOrder.DESCENDING)
        is_stacked = self._style == "stack"
        stacking = parts.StackingConfig().group("A")
        built = timeseries.Panel().legend(legend).tooltip(tooltip).line_width(1).fill_opacity(30 if is_stacked else 8)
        built = built.show_points(kinds.VisibilityMode.NEVER).thresholds(Steps(("transparent", None)).build())
        built = built.stacking(stacking.mode(kinds.StackingMode.NORMAL if is_stacked else kinds.StackingMode.NONE))
        if self._style == "step":
            built = built.line_interpolation(kinds.LineInterpolation.STEP_AFTER)
        if self._least is not None:
            built = built.min(self._least)
        if self._most is not None:
            built = built.max(self._most)
        return built.override_by_regexp(f"/{self._dashed}$/", [DASHED, UNFILLED]) if self._dashed else built


class Stat(Panel):
    """The last value of each series as a number."""

    height = STAT_HEIGHT

    def __init__(self, title: str, description: str, unit: str, *queries: Query, steps: Steps | None = None) -> None:
        super().__init__(title, description, unit, *queries)
        self._steps = steps or Steps(("text", None))

    def frame(self) -> stat.Panel:
        """Implement `Panel`."""
        last = parts.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
        built = stat.Panel().reduce_options(last).thresholds(self._steps.build()).min(0)
        return built.color_mode(kinds.BigValueColorMode.VALUE).graph_mode(kinds.BigValueGraphMode.AREA)


class Heatmap(Panel):
    """The buckets of a histogram over time."""

    def frame(self) -> heatmap.Panel:
        """Implement `Panel`."""
        colour = heatmap.HeatmapColorOptions().mode(heatmaps.HeatmapColorMode.SCHEME).scheme("Blues").steps(32)
        axis = heatmap.YAxisConfig().unit(self.unit).axis_placement(kinds.AxisPlacement.LEFT)
        return heatmap.Panel().calculate(False).cell_gap(1).color(colour).y_axis(axis).exemplars_color("orange")


class Row:
    """A row: its title and its panels."""

    def __init__(self, title: str, *panels: Panel) -> None:
        self.title = title
        self.panels = panels

    def widths(self) -> Iterator[tuple[Panel, int]]:
        """Yield the panels with their widths: numbers side by side, and two graphs in a line."""
        stats = [panel for panel in self.panels if isinstance(panel, Stat)]
        others = [panel for panel in self.panels if not isinstance(panel, Stat)]
        for number in stats:
            least = COLUMNS // len(stats)
            yield number, COLUMNS - least * (len(stats) - 1) if number is stats[0] else least
        for index, panel in enumerate(others):
            is_alone = index == len(others) - 1 and index % 2 == 0
            yield panel, COLUMNS if is_alone else COLUMNS // 2


@dataclass(frozen=True)
class TextBox:
    """A variable that the reader types: its name, its label and its first value."""

    name: str
    label: str
    value: str


@dataclass(frozen=True)
class Board:
    """A dashboard: its uid, title and description, its rows, the labels to choose values of, and its text boxes."""

    uid: str
    title: str
    description: str
    rows: tuple[Row, ...]
    labels: tuple[str, ...]
    boxes: tuple[TextBox, ...] = ()
