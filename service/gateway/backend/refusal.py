"""Decide whether the model servers have left a model out."""

from collections.abc import Mapping
from typing import Final

from service.gateway.backend.replicas import WorkerStatus

# For so long a server that is gone or silent may come back with the model. The pods that a rollout replaces never do.
ABSENCE_S: Final = 300.0


class Refusal:
    """What the model servers said about one model."""

    def __init__(self) -> None:
        self._may_return: dict[str, float] = {}  # until when, in loop time, by the server's name

    def update(self, statuses: Mapping[str, WorkerStatus | None], now: float) -> bool:
        """Note the status of each listed server, None for a silent one; return whether the model is refused.

        All servers that answer must have left it out. One that had it, or that never answered, must have been gone or
        silent for `ABSENCE_S`, because servers that only serve other models say the same as those that left it out.
        """
        answers = {name: status for name, status in statuses.items() if status is not None}
        having = [name for name, status in answers.items() if not status.is_refused]
        if having:
            self._may_return = dict.fromkeys(having, now + ABSENCE_S)
            return False
        for name in statuses.keys() - answers.keys():
            self._may_return.setdefault(name, now + ABSENCE_S)
        self._may_return = {
            name: until
            for name, until in self._may_return.items()
            if name not in answers and (until > now or name in statuses)
        }
        return bool(answers) and all(until <= now for until in self._may_return.values())
