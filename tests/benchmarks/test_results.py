"""Tests of the result files of the benchmarks."""

from pathlib import Path

from benchmarks.results import processor


def test_the_processors_name_is_the_systems(tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: A Processor\nmodel name\t: A Processor\n", encoding="utf-8")

    assert processor(info) == "A Processor"
    assert processor(tmp_path / "nowhere")
