"""What the demonstration records of alerts and notifications."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.demo.history import History

OVERLOADED = {"alertname": "Overloaded", "severity": "page", "job": "a"}


@pytest.fixture
def history(tmp_path: Path) -> History:
    (tmp_path / "log").touch()
    return History(tmp_path / "log")


def shown(*labels: dict[str, str], state: str = "firing") -> list[dict[str, Any]]:
    return [{"labels": each, "state": state} for each in labels]


def notify(history: History, status: str = "firing") -> None:
    labels = {name: value for name, value in OVERLOADED.items() if name != "alertname"}
    alert = {"alert": "Overloaded", "status": status, "labels": labels}
    with history.notifications.open("a", encoding="utf-8") as file:
        file.write(json.dumps({"receiver": "pages", "status": status, "alerts": [alert]}) + "\n")


def test_an_alert_has_the_times_at_which_it_fired_was_sent_and_resolved(history: History) -> None:
    history.see(shown(OVERLOADED, state="pending"), 1)
    history.see(shown(OVERLOADED), 2)
    notify(history)
    history.see(shown(OVERLOADED), 3)
    notify(history)
    notify(history, "resolved")
    history.see([], 4)

    (episode,) = history.episodes
    assert (episode.alert, episode.severity) == ("Overloaded", "page")
    assert (episode.fired_s, episode.sent_s, episode.sent, episode.resolved_s) == (2, 3, 2, 4)
    assert history.groups == [(3, "pages", frozenset({"Overloaded"})), (4, "pages", frozenset({"Overloaded"}))]
    assert history.open == []


def test_an_alert_that_fires_again_is_another_episode(history: History) -> None:
    for now, alerts in enumerate((shown(OVERLOADED), [], shown(OVERLOADED))):
        history.see(alerts, now)

    assert [(each.fired_s, each.resolved_s) for each in history.episodes] == [(0, 1), (2, None)]


def test_a_line_that_is_not_complete_is_read_when_it_is(history: History) -> None:
    history.see(shown(OVERLOADED), 0)
    notify(history)
    text = history.notifications.read_text(encoding="utf-8")
    history.notifications.write_text(text[:-5], encoding="utf-8")
    history.see(shown(OVERLOADED), 1)
    assert history.groups == []
    history.notifications.write_text(text, encoding="utf-8")
    history.see(shown(OVERLOADED), 2)

    assert len(history.groups) == 1
