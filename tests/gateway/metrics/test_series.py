"""The registry of an app: several in one process, and the totals of processes that share a folder."""

from pathlib import Path

from prometheus_client.multiprocess import mark_process_dead

from service.gateway.metrics.series import MAX, Series


class Counted(Series):
    """A registry with one counter and one gauge."""

    def __init__(self, shared: Path | None = None) -> None:
        super().__init__(shared)
        self.events = self._counter("events_total", "Events", ["kind"])
        self.level = self._gauge("level", "A level", [], MAX)


def test_two_registries_of_one_process_do_not_share_values() -> None:
    one, other = Counted(), Counted()
    one.events.labels("a").inc(2)
    other.events.labels("a").inc(5)

    assert b'events_total{kind="a"} 2.0' in one.text()
    assert b'events_total{kind="a"} 5.0' in other.text()


def test_a_single_process_reports_its_memory_and_open_files_and_one_of_several_does_not(tmp_path: Path) -> None:
    """A scrape reaches any of several processes, so their values would alternate."""
    alone, shared = Counted().text().decode(), Counted(tmp_path).text().decode()

    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "process_open_fds"):
        assert f"\n{name} " in alone
    assert "process_" not in shared


def test_the_series_of_a_label_value_is_made_once() -> None:
    counted = Counted()

    assert counted.events.labels("a") is counted.events.labels("a")


def test_a_value_that_is_read_at_a_scrape_is_that_of_the_moment() -> None:
    counted, values = Counted(), iter((1.0, 2.0))
    counted._set_at_scrape.append((counted.level, lambda: next(values)))

    assert b"level 1.0" in counted.text()
    assert b"level 2.0" in counted.text()


def test_a_process_that_has_ended_has_no_level(tmp_path: Path) -> None:
    mark_process_dead(1, str(tmp_path))  # type: ignore[no-untyped-call]

    assert Counted(tmp_path).text() == b""
