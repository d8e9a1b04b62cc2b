"""The account of a bulk run names every input that has not exactly one line."""

import json
from pathlib import Path

import pytest

from benchmarks.stress import bulk


def test_lines_that_are_missing_doubled_foreign_or_problems_are_counted(tmp_path: Path) -> None:
    inputs = [tmp_path / f"{number}.jpg" for number in range(4)]
    names = [inputs[0], inputs[1], inputs[1], inputs[2], tmp_path / "foreign.jpg"]
    lines = [{"file": str(name), **({"error": {}} if name == inputs[2] else {})} for name in names]
    out = tmp_path / "results.jsonl"
    out.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    assert bulk.account(out, inputs) == {
        "lines": 5,
        "inputs without a line": 1,
        "inputs with several": 1,
        "lines of no input": 1,
        "problems": 1,
    }


def test_inputs_are_so_many_files_with_names_of_their_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "DIFFERENT", 5)

    inputs = bulk.make_inputs(tmp_path, 45)

    assert len({path for path in inputs if path.is_file()}) == 45
    assert {path.stat().st_nlink for path in inputs} == {3, 4}  # links to 20 images
