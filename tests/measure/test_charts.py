"""Tests of charts as SVG."""

import xml.etree.ElementTree as ET

import pytest

from service.measure import charts
from service.measure.charts import PlotBar, PlotLine

SVG = "{http://www.w3.org/2000/svg}"
LINES = [PlotLine("a", [(1, 10.0), (2, 100.0)]), PlotLine("b & c", [(1, 5.0)]), PlotLine("empty", [])]


def parsed(chart: str) -> ET.Element:
    return ET.fromstring(chart)  # noqa: S314 - our own


def texts(chart: ET.Element) -> list[str]:
    return [each.text or "" for each in chart.iter(f"{SVG}text")]


def test_lines_have_colours_of_their_own_and_their_names_at_the_end() -> None:
    chart = parsed(charts.line_chart("Latency", "images/s", LINES, logarithmic=True))
    strokes = [line.attrib["stroke"] for line in chart.iter(f"{SVG}polyline")]
    assert len(strokes) == len(set(strokes)) == 2
    assert {"Latency", "images/s", "a", "b & c"} <= set(texts(chart))


def test_a_mark_is_drawn_where_it_is_on_the_axis() -> None:
    chart = parsed(charts.line_chart("Latency", "images/s", LINES, logarithmic=False, mark=("knee", 2)))
    (mark,) = (each for each in chart.iter(f"{SVG}path") if each.attrib["class"] == "mark")
    assert mark.attrib["d"].startswith(f"M{charts.WIDTH - charts.RIGHT:.1f} ")
    assert "knee" in texts(chart)


def test_bars_are_as_long_as_their_values_and_show_their_spread() -> None:
    bars = [PlotBar("ours", 90, 80, 100), PlotBar("a & b", 45, 40, 50, colour=1)]
    chart = parsed(charts.bar_chart("Images per second", bars))
    first, second = chart.iter(f"{SVG}rect")
    assert float(first.attrib["width"]) == pytest.approx(2 * float(second.attrib["width"]), abs=0.1)
    assert first.attrib["fill"] != second.attrib["fill"]
    assert len([each for each in chart.iter(f"{SVG}path") if each.attrib["class"] == "mark"]) == 2
    assert {"ours", "a & b", "90", "45"} <= set(texts(chart))


def test_everything_is_inside_the_image() -> None:
    chart = parsed(charts.bar_chart("t", [PlotBar(str(index), 1, 1, 1) for index in range(12)]))
    height = float(chart.attrib["viewBox"].split()[3])
    assert all(float(each.attrib["y"]) + charts.BAR_HEIGHT <= height for each in chart.iter(f"{SVG}rect"))


def test_a_chart_without_values_is_a_chart() -> None:
    assert texts(parsed(charts.line_chart("t", "x", [], logarithmic=True)))[0] == "t"
    assert texts(parsed(charts.bar_chart("t", []))) == ["t"]


def test_text_is_legible_on_light_and_on_dark_pages() -> None:
    assert "prefers-color-scheme: dark" in charts.bar_chart("t", [])
