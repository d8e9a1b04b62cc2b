"""Tests of the HTML page of a sweep."""

import xml.etree.ElementTree as ET

import pytest

from service.measure.charts import HEIGHT
from service.measure.load import plot
from service.measure.load.trial import Trial
from tests.measure.load.trials import make_trial

SWEEP = [make_trial(20, 20, 0.010), make_trial(60, 60, 0.012), make_trial(110, 70, 0.300, errors=5)]
SVG = "{http://www.w3.org/2000/svg}"


def charts(page: str) -> list[ET.Element]:
    parts = page.split("<svg ")[1:]
    return [ET.fromstring("<svg " + part.partition("</svg>")[0] + "</svg>") for part in parts]  # noqa: S314 - our own


def test_latency_and_throughput_are_drawn_and_the_knee_is_marked() -> None:
    latency, throughput = charts(
        plot.page("http://x", "what", [make_trial(n, n, 0.01, kind="closed") for n in (200, 400, 600)])
    )
    names = [text.text for text in latency.iter(f"{SVG}text")]
    assert {"p50", "p95", "p99", "knee", "callers at a time"} <= set(names)
    assert len(list(latency.iter(f"{SVG}polyline"))) == 3
    assert len(list(throughput.iter(f"{SVG}circle"))) == 3


def test_higher_latency_is_drawn_higher_and_inside_the_picture() -> None:
    latency, _ = charts(plot.page("http://x", "what", SWEEP))
    line = next(latency.iter(f"{SVG}polyline"))
    heights = [float(point.partition(",")[2]) for point in line.attrib["points"].split()]
    assert heights[0] > heights[1] > heights[2]
    assert all(0 < height < HEIGHT for height in heights)


@pytest.mark.parametrize("trials", [[make_trial(5, 0, 0.1, errors=2)], SWEEP[:1]], ids=["no answers", "one load"])
def test_a_page_of_little_is_a_page(trials: list[Trial]) -> None:
    page = plot.page("http://x", "what", trials)
    assert len(charts(page)) == 2
    assert "knee" not in page


def test_what_is_told_cannot_break_the_page() -> None:
    page = plot.page("http://x/?a=<script>&b", "<b>", SWEEP)
    assert "<script>" not in page
    assert "503 overloaded" in page
