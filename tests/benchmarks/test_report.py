"""Tests of the program that puts results into the pages."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import click
import pytest
from click.testing import CliRunner

from benchmarks import report
from tests.benchmarks.test_scoreboard import WHOLE

LATENCIES = {
    f"{name} at {share}{figure}": value
    for name in ("ours", "same mosec")
    for share, value in (("20%", 20.0), ("80%", 80.0))
    for figure in ("", " p50", " p99")
}


def document(*repeats: dict[str, float]) -> dict[str, Any]:
    return {
        "measured_at": "2026-11-29T10:00+00:00",
        "command": "python -m benchmarks.bars --quick",
        "commit": "abc1234",
        "schedule": "3 repeats",
        "host": {"cores": 2, "processor": "AMD EPYC", "amx": False},
        "repeats": list(repeats),
    }


def page(path: Path, name: str) -> Path:
    path.write_text(f"# Title\n\n<!-- {name} begin -->\nold\n<!-- {name} end -->\n\nRest.\n", encoding="utf-8")
    return path


def run(folder: Path, *repeats: dict[str, float]) -> tuple[str, str]:
    results = folder / "bars.json"
    results.write_text(json.dumps(document(*repeats)), encoding="utf-8")
    options = {"--results": results, "--images": folder / "images"}
    pages = {"--page": page(folder / "page.md", "bars"), "--readme": page(folder / "readme.md", "speed")}
    words = [str(word) for pair in (options | pages).items() for word in pair]
    found = CliRunner().invoke(report.main, words, catch_exceptions=False)
    assert found.exit_code == 0, found.output
    return pages["--page"].read_text(encoding="utf-8"), pages["--readme"].read_text(encoding="utf-8")


def test_the_pages_get_the_tables_of_the_run_and_keep_the_rest(tmp_path: Path) -> None:
    whole, short = run(tmp_path, WHOLE | LATENCIES, WHOLE | LATENCIES | {"ours": 97.0})

    for text in (whole, short):
        assert "old" not in text
        assert text.startswith("# Title\n\n<!--")
        assert text.endswith("end -->\n\nRest.\n")
        assert "2 cores of AMD EPYC without AMX" in text
        assert "at abc1234" in text
    assert "| same engine: / mosec | ≥ 1 | 1.06 | 1.07 | 1.08 | 2 | met |" in whole
    assert "| images/s over HTTP | 96.0 (95.0 to 97.0) |  |" in short
    assert "| relative to the same engine in mosec | 1.07 (1.06 to 1.08) | ≥ 1 |" in short


def test_a_second_run_changes_nothing_else(tmp_path: Path) -> None:
    once = run(tmp_path, WHOLE)
    (tmp_path / "again").mkdir()

    assert run(tmp_path / "again", WHOLE) == once


def test_what_was_not_measured_is_left_out(tmp_path: Path) -> None:
    whole, short = run(tmp_path, {"ours": 95.0, "limit": 100.0})

    assert "mosec" not in whole + short
    assert "| 0.95 | 0.95 | 0.95 | 1 | met |" in whole


def test_the_charts_have_every_contestant_and_every_load(tmp_path: Path) -> None:
    run(tmp_path, WHOLE | LATENCIES)

    throughput, latency = (
        ET.fromstring((tmp_path / "images" / name).read_text(encoding="utf-8"))  # noqa: S314
        for name in (report.THROUGHPUT, report.LATENCY)
    )
    texts = {each.text for each in throughput.iter() if each.text}
    assert {"resnest-service", "engine without serving", "mosec, same engine", "fastapi, as users write it"} <= texts
    assert len(list(latency.iter("{http://www.w3.org/2000/svg}polyline"))) == 4


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "page.md"
    plain.write_text("# Title\n", encoding="utf-8")

    with pytest.raises(click.ClickException, match="has no lines <!-- bars begin -->"):
        report.replace(plain, "bars", "new")
