"""Alertmanager's file: who hears of what, and a real Alertmanager that pages once for an overload."""

import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.demo.programs import alerting
from tests.deploy import reading
from tests.deploy.programs import TOP, program, run

FILE = TOP / "deploy/alertmanager/alertmanager.yml"
CONFIGURATION = reading.load("deploy/alertmanager/alertmanager.yml")
FACTOR = 60  # group_wait is half a second
WAIT_S = 60.0
SILENCE_S = 3.0  # six times the time to wait for a group
JOB = "resnest-gateway"


@dataclass
class Pager:
    """A real Alertmanager and its example receiver."""

    address: str
    log: Path
    labels: list[dict[str, str]] = field(default_factory=list)

    def fire(self, *alerts: dict[str, str]) -> None:
        """Send alerts that fire from now on, as Prometheus does."""
        sent = [{"labels": {"job": JOB, **each}, "annotations": {"summary": "s"}} for each in alerts]
        httpx.post(f"http://{self.address}/api/v2/alerts", json=sent).raise_for_status()

    def resolve(self, *alerts: dict[str, str]) -> None:
        ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        sent = [{"labels": {"job": JOB, **each}, "endsAt": ended} for each in alerts]
        httpx.post(f"http://{self.address}/api/v2/alerts", json=sent).raise_for_status()

    def notifications(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text(encoding="utf-8").splitlines()]

    def wait(self, enough: Callable[[Sequence[dict[str, Any]]], object]) -> list[dict[str, Any]]:
        end = time.monotonic() + WAIT_S
        while not enough(found := self.notifications()):
            assert time.monotonic() < end, found
            time.sleep(0.05)
        return found

    def state(self, alert: str) -> str:
        found = httpx.get(f"http://{self.address}/api/v2/alerts").json()
        return str(next(each["status"]["state"] for each in found if each["labels"]["alertname"] == alert))


@pytest.fixture
def pager(tmp_path: Path) -> Iterator[Pager]:
    program("prometheus-alertmanager")
    with alerting(tmp_path, FACTOR) as (address, log):
        yield Pager(address, log)


def names(notification: dict[str, Any]) -> list[str]:
    return sorted(each["alert"] for each in notification["alerts"])


OVERLOADED = {"alertname": "Overloaded", "severity": "page"}
ERRORS = {"alertname": "GatewayErrors", "severity": "page"}
BURNING = {"alertname": "ErrorBudgetBurningFast", "severity": "page", "objective": "availability"}
SATURATED = {"alertname": "QueueSaturated", "severity": "ticket", "model": "resnest50"}


def test_amtool_finds_no_fault() -> None:
    run("amtool", "check-config", FILE)


@pytest.mark.parametrize(("severity", "receiver"), [("page", "pages"), ("ticket", "tickets")])
def test_a_severity_has_its_receiver(severity: str, receiver: str) -> None:
    run(
        "amtool",
        "config",
        "routes",
        "test",
        f"--config.file={FILE}",
        f"--verify.receivers={receiver}",
        f"severity={severity}",
        "alertname=Any",
    )


def test_every_alert_that_the_file_names_is_one_of_the_rules() -> None:
    matchers = [
        matcher
        for rule in CONFIGURATION["inhibit_rules"]
        for side in ("source_matchers", "target_matchers")
        for matcher in rule[side]
    ]
    named = {
        name
        for matcher in matchers
        if (found := re.match(r'alertname =~? "?([\w|]+)"?$', matcher))
        for name in found[1].split("|")
    }

    assert len(named) > 5
    assert named <= {rule["alert"] for rule in reading.rules("alert")}


def test_an_overload_pages_once_and_opens_no_ticket(pager: Pager) -> None:
    pager.fire(OVERLOADED, BURNING, SATURATED)
    first = pager.wait(lambda found: len(found) >= 1)
    time.sleep(SILENCE_S)

    assert pager.notifications() == first
    (page,) = first
    assert (page["receiver"], page["status"], names(page)) == ("pages", "firing", ["Overloaded"])
    assert {pager.state(alert) for alert in ("ErrorBudgetBurningFast", "QueueSaturated")} == {"suppressed"}


def test_what_an_overload_does_not_explain_is_sent(pager: Pager) -> None:
    """GatewayErrors does not count rejections, so it has another cause."""
    images = {**BURNING, "objective": "images", "model": "resnest50"}
    pager.fire(OVERLOADED, ERRORS, images, {"alertname": "ModelNotReady", "severity": "page", "model": "deeplab"})

    (page, *_) = pager.wait(lambda found: len(found) >= 1)
    assert names(page) == ["ErrorBudgetBurningFast", "GatewayErrors", "ModelNotReady", "Overloaded"]


def test_the_symptoms_are_sent_when_the_overload_is_over_and_they_are_not(pager: Pager) -> None:
    pager.fire(OVERLOADED, BURNING)
    pager.wait(lambda found: len(found) >= 1)
    pager.resolve(OVERLOADED)

    found = pager.wait(lambda found: any("ErrorBudgetBurningFast" in names(each) for each in found))
    assert {each["receiver"] for each in found} == {"pages"}


def test_what_is_no_notification_is_refused_and_the_next_one_is_written(pager: Pager, tmp_path: Path) -> None:
    port = re.search(r"127\.0\.0\.1:(\d+)/pages", (tmp_path / "alertmanager.yml").read_text(encoding="utf-8"))
    assert port is not None
    assert httpx.post(f"http://127.0.0.1:{port[1]}/pages", content=b"[]").status_code == 400
    pager.fire(ERRORS)

    (page,) = pager.wait(lambda found: len(found) >= 1)
    assert page["alerts"] == [
        {"alert": "GatewayErrors", "status": "firing", "labels": {"job": JOB, "severity": "page"}, "summary": "s"}
    ]
