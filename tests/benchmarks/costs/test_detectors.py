"""The times of detectors beside eager PyTorch."""

from pathlib import Path

from click.testing import CliRunner

from benchmarks.costs import detectors
from tests.stores import write_store

PARTS = ["trunk", "box_head_0", "mask_head_0", detectors.BETWEEN]


def test_every_engine_is_timed_with_every_number_of_proposals(tmp_path: Path) -> None:
    store = write_store(tmp_path, "tiny-detector")
    options = ["--rounds", "1", "--proposals", "30", "--proposals", "10", "--threads", "1"]

    result = CliRunner().invoke(detectors.main, [str(store), "tiny-detector", *options])

    assert result.exit_code == 0, result.output
    first, _, *rows = result.output.splitlines()
    assert first == "tiny-detector, input 128x96, 1 threads, 1 rounds"
    speeds = [row for row in rows if row.endswith(tuple("0123456789"))]
    engines = {row[: row.index(" " * 2)] for row in speeds}
    assert len(speeds) == 2 * len(engines)
    assert {"eager PyTorch, f32"} < engines
    assert speeds[0].split()[-3:] == ["1.00"] * 3
    for part in PARTS:
        assert sum(f" {part} " in row for row in rows) == len(speeds), part
