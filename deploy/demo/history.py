"""Record which alerts fired, were sent and resolved, and when."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Labels = tuple[tuple[str, str], ...]


@dataclass
class Episode:
    """One alert from its begin to its end; times are seconds on one clock, None until it happens.

    `sent_s` is the first notification that has it as firing, `sent` how many had.
    """

    alert: str
    severity: str
    labels: Labels
    fired_s: float
    sent_s: float | None = None
    sent: int = 0
    resolved_s: float | None = None


@dataclass
class History:
    """The episodes so far, in the order in which they began, and how many firing notifications each receiver got."""

    notifications: Path
    episodes: list[Episode] = field(default_factory=list)
    groups: list[tuple[float, str, frozenset[str]]] = field(default_factory=list)
    _read: int = 0

    def see(self, alerts: Iterable[Mapping[str, Any]], now_s: float) -> None:
        """Take what Prometheus shows as alerts, and what the receiver has written since the last time."""
        firing = {_labels(each["labels"]): each["labels"] for each in alerts if each["state"] == "firing"}
        open_now = {each.labels: each for each in self.open}
        for labels, named in firing.items():
            if labels not in open_now:
                self.episodes.append(Episode(named["alertname"], named["severity"], labels, now_s))
        for labels, episode in open_now.items():
            if labels not in firing:
                episode.resolved_s = now_s
        for notification in self._new_notifications():
            self._note(notification, now_s)

    @property
    def open(self) -> Sequence[Episode]:
        """The alerts that fire now."""
        return [each for each in self.episodes if each.resolved_s is None]

    def _note(self, notification: Mapping[str, Any], now_s: float) -> None:
        firing = [each for each in notification["alerts"] if each["status"] == "firing"]
        if firing:
            names = frozenset(each["alert"] for each in firing)
            self.groups.append((now_s, notification["receiver"], names))
        for each in firing:
            labels = _labels({**each["labels"], "alertname": each["alert"]})
            for episode in self.episodes[::-1]:
                if episode.labels == labels:
                    episode.sent += 1
                    episode.sent_s = now_s if episode.sent_s is None else episode.sent_s
                    break

    def _new_notifications(self) -> list[Mapping[str, Any]]:
        with self.notifications.open("rb") as file:
            file.seek(self._read)
            whole = file.read().rpartition(b"\n")[0]
        self._read += len(whole) + 1 if whole else 0
        return [json.loads(line) for line in whole.splitlines() if line.startswith(b"{")]


def _labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))
