"""docs/operations/planning.md has what the program computes, and the program's figures follow from its inputs."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from deploy.planning import __main__ as program
from deploy.planning import page, server_kinds
from deploy.planning.policies import POLICIES
from tests.laws.sources import ROOT

PAGE = ROOT / "docs/operations/planning.md"


@pytest.fixture(scope="module")
def known() -> server_kinds.Assumptions:
    return server_kinds.read()


def test_the_page_has_the_tables_that_the_program_computes(known: server_kinds.Assumptions) -> None:
    text = PAGE.read_text(encoding="utf-8")
    written = dict(re.findall(r"<!-- (.+) begin -->\n\n(.*?)\n<!-- \1 end -->", text, re.DOTALL))

    assert written == program.parts(known), "run make plan"


def test_the_plots_are_those_that_the_program_draws(known: server_kinds.Assumptions) -> None:
    for name, text in program.plots(known).items():
        assert (PAGE.parent / "charts" / name).read_text(encoding="utf-8") == text, "run make plan"
        assert f"](charts/{name})" in PAGE.read_text(encoding="utf-8")


def test_no_figure_of_a_fleet_stands_in_the_text() -> None:
    """Outside the generated parts, a number is one of the settings, of a shape, or of the simulation."""
    text = re.sub(r"<!-- (.+) begin -->.*?<!-- \1 end -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)

    assert re.findall(r"\d[\d,.]*\s*(?:images/s|GPUs?\b|Gbit|cores\b|ms\b)", text) == []


def test_what_capacity_writes_is_read(tmp_path: Path) -> None:
    curve = {"batch_s": 0.01, "image_s": 0.02, "most": 4}
    document = {"host": {"cores": 4, "load_average": 0.5}, "measured_at": "2026-11-29T12:00:00+00:00", "curve": curve}
    (tmp_path / "mine.json").write_text(json.dumps(document), encoding="utf-8")

    done = CliRunner().invoke(program.main, ["--capacity", str(tmp_path / "mine.json")])

    assert done.exit_code == 0, done.output
    assert all(f"| {policy} |" in done.output for policy in POLICIES)


def test_each_table_of_policies_has_every_policy_once(known: server_kinds.Assumptions) -> None:
    rows = page.policies(known.kind("gpu-classifier")).splitlines()

    assert [row.split(" | ")[0].strip("| ") for row in rows[2:-1]] == [*POLICIES]
