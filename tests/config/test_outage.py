"""An outage is logged twice: when it begins, and at the same level when it ends."""

import logging

import pytest

from service.config.outage import Outage

log = logging.getLogger("service.test")


def test_the_end_has_the_level_of_the_begin_and_the_length(caplog: pytest.LogCaptureFixture) -> None:
    now = 100.0
    outage = Outage(log, logging.ERROR, lambda: now)
    outage.begin("cat is unavailable", model="cat")
    outage.begin("cat is unavailable", model="cat")
    now = 105.25
    outage.end("cat is ready again", model="cat")
    outage.end("cat is ready again", model="cat")

    assert caplog.messages == ["cat is unavailable", "cat is ready again after 5.2 s"]
    assert [record.levelname for record in caplog.records] == ["ERROR", "ERROR"]
    assert vars(caplog.records[1])["outage_s"] == 5.2
    assert vars(caplog.records[1])["model"] == "cat"


def test_what_never_failed_has_no_end(caplog: pytest.LogCaptureFixture) -> None:
    Outage(log).end("cat is ready again")

    assert caplog.messages == []
