"""Scores on held-out photos: their interval, and how they are shown."""

import pytest

from service.cli.accuracy.unknown_sign import UnknownSign
from service.cli.train import held_out
from service.tasks.classification import scoring
from service.tasks.classification.scoring import ClassificationOutcome, ClassificationScores


def scores(labels: tuple[str, ...], pairs: list[tuple[int, int]]) -> ClassificationScores:
    return scoring.scores(labels, [ClassificationOutcome("x", true, (best,), 0.9) for true, best in pairs])


@pytest.mark.parametrize(
    ("right", "images", "low", "high"), [(35, 40, 0.739, 0.945), (10, 10, 0.722, 1.0), (0, 10, 0.0, 0.278)]
)
def test_the_interval_is_wilsons(right: int, images: int, low: float, high: float) -> None:
    assert held_out.interval(right, images) == pytest.approx((low, high), abs=1e-3)


def test_a_card_has_the_scores_of_each_label() -> None:
    found = held_out.measured(scores(("a", "b"), [(0, 0), (0, 0), (0, 1), (1, 1)]))

    assert found["top1"] == 0.75
    assert found["recall"] == {"a": 0.6667, "b": 1.0}
    assert found["mean_recall"] == 0.8333
    assert found["confusion"] == [[2, 1], [0, 1]]
    assert found["calibration_error"] == pytest.approx(0.15)


def test_a_found_rate_that_was_not_measured_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    held_out.report_sign(UnknownSign({}, {"images": 40, "false_alarms": 0.05}))
    assert capsys.readouterr().out == (
        "Unknown images: 5.0% of 40 held-out photos are called unknown. How many images of something else are found "
        "was not measured. To measure it, repeat with --replace and --others FOLDER, a folder of at least 40 of them\n"
    )

    held_out.report_sign(UnknownSign({}, {"images": 40, "false_alarms": 0.05, "others": 20, "found": 0.9}))
    assert capsys.readouterr().out.endswith("; of 20 other images 90.0% are found\n")


def test_few_labels_have_a_table_of_confusions(capsys: pytest.CaptureFixture[str]) -> None:
    held_out.report(scores(("rose", "tulip"), [(0, 0), (0, 1), (1, 1)]), {"rose": 8, "tulip": 4})

    text = capsys.readouterr().out
    assert [line.split() for line in text.splitlines() if line.startswith("rose")] == [
        ["rose", "8", "2", "50.0%", "100.0%"],
        ["rose", "1", "1"],
    ]
    assert "Held-out accuracy: 66.7% of 3 photos (95 % interval 21% to 94%)" in text


def test_many_labels_have_a_list_of_the_most_frequent_confusions(capsys: pytest.CaptureFixture[str]) -> None:
    labels = tuple(f"label-{number}" for number in range(20))
    pairs = [(number, number) for number in range(20)] + [(3, 7)] * 4 + [(5, 1)]

    held_out.report(scores(labels, pairs), dict.fromkeys(labels, 8))

    shown = [line for line in capsys.readouterr().out.splitlines() if " got the answer " in line]
    assert shown == ["4 of label-3 got the answer label-7", "1 of label-5 got the answer label-1"]
