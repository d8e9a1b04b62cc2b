"""Checks and what they find."""

from collections.abc import Iterator

from service.cli.doctor import finding
from service.cli.doctor.finding import Finding


def test_a_check_that_fails_is_a_finding_and_the_others_still_run() -> None:
    def broken_disk() -> Iterator[Finding]:
        raise RuntimeError("no disk")

    found = list(finding.run([broken_disk, lambda: [finding.ok("port", "free")]]))

    assert [(each.check, each.state) for each in found] == [("broken disk", "problem"), ("port", "ok")]
    assert found[0].found == "the check failed: RuntimeError: no disk"


def test_only_one_of_a_thing_is_singular() -> None:
    assert [finding.counted(number, "warning") for number in (0, 1, 2)] == ["0 warnings", "1 warning", "2 warnings"]


def test_what_is_not_right_has_a_cure() -> None:
    assert finding.warning("a", "b", "c") == Finding("a", "warning", "b", "c")
    assert finding.problem("a", "b", "c") == Finding("a", "problem", "b", "c")
