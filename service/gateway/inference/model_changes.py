"""Follow the list of the served models that `run` writes: make new models ready, serve them, and end old ones.

Nothing that a caller sees changes before the supervisor says so, and then in one step. A model that is no longer in the
list ends after the last request that has chosen it.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

from service.gateway.inference.model_watch import ModelWatch
from service.gateway.inference.models_in_use import ModelsInUse
from service.gateway.inference.readiness import Readiness
from service.host.served_models.roster import Acknowledgement, Entry, Roster, RosterFile
from service.models.cards import CardError, ModelCard

log = logging.getLogger(__name__)

PAUSE_S = 2.0  # after an error, such as a full disk
POLL_S = 0.1  # between two checks of the file; a check takes 3 µs


class ServesModels(Protocol):
    """What serves the models of an app."""

    in_use: ModelsInUse
    readiness: Readiness

    def prepare(self, card: ModelCard) -> ModelWatch:
        """Make ready to serve a model, which no caller sees yet."""

    def serve(self, cards: Sequence[ModelCard]) -> None:
        """Serve these models from now on. Raises `CardError`."""

    async def forget(self, card: ModelCard) -> None:
        """Free what a model used that is no longer served."""


class ModelChanges:
    """Changes the models of one gateway process as the file says, and acknowledges each generation."""

    def __init__(
        self,
        file: Path,
        serving: ServesModels,
        on_change: Callable[[], None],
        set_failed: Callable[[int], object],
        longest_request_s: float,
    ) -> None:
        """Change `serving` as the list in `file` says, and call `on_change` whenever callers see other models.

        `set_failed` gets 1 if the last reload failed, else 0. A removed model ends at the latest after
        `longest_request_s` seconds.
        """
        self._file = RosterFile(file)
        self._serving = serving
        self._on_change = on_change
        self._set_failed = set_failed
        self._longest_request_s = longest_request_s
        self._roster = Roster()
        self._removed_at: dict[str, float] = {}  # loop time, by server name
        self._mistake = ""
        self._acknowledged: Acknowledgement | None = None

    async def run(self) -> None:
        """Follow the file until cancelled."""
        while True:
            try:
                await self.follow()
            except Exception:  # a bug must not end the following: the supervisor would wait forever
                log.exception("could not follow the list of the served models")
                await asyncio.sleep(PAUSE_S)
            await asyncio.sleep(POLL_S)

    async def follow(self) -> None:
        """Take the list if it has changed, end removed models that no request uses, and acknowledge a new state."""
        if self._file.changed():
            try:
                self._mistake = ""
                self._take(self._file.read())
            except CardError as error:
                self._mistake = str(error)
        pending = await self._pending()
        acknowledgement = Acknowledgement(generation=self._roster.generation, pending=pending)
        if acknowledgement != self._acknowledged:
            self._file.acknowledge(acknowledgement)
            self._acknowledged = acknowledgement

    def _take(self, roster: Roster) -> None:
        self._roster = roster
        for entry in roster.preparing:
            if entry.server_name not in self._watches:
                self._serving.prepare(entry.read())
        served = [self._card_of(entry) for entry in roster.served]
        if served != [watch.card for watch in self._watches.values() if watch.is_served]:
            self._serving.serve(served)
            self._on_change()
            log.info("the served models are now %s", ", ".join(f"{card.name} {card.version}" for card in served))
        self._set_failed(int(roster.reload_failed))
        wanted = {entry.server_name for entry in (*roster.served, *roster.preparing)}
        now = asyncio.get_running_loop().time()
        self._removed_at = {name: self._removed_at.get(name, now) for name in self._watches if name not in wanted}

    @property
    def _watches(self) -> dict[str, ModelWatch]:
        return self._serving.readiness.watches

    def _card_of(self, entry: Entry) -> ModelCard:
        """Return the card of an entry, the known one if the process has it."""
        if entry.server_name not in self._watches:
            self._serving.prepare(entry.read())
        card = self._watches[entry.server_name].card
        return card if card.name == entry.name else card.model_copy(update={"name": entry.name})

    async def _pending(self) -> str:
        """Return what this process waits for, an empty string if nothing."""
        if self._mistake:
            return self._mistake
        await self._end_unused()
        for entry in self._roster.preparing:
            watch = self._watches[entry.server_name]
            if not watch.answered:
                return f"{entry.name} has not answered a probe image{watch.failure and f': {watch.failure}'}"
        used = [name for name in self._removed_at if self._serving.in_use.users(name)]
        return f"requests still use {', '.join(used)}" if used else ""

    async def _end_unused(self) -> None:
        now = asyncio.get_running_loop().time()
        for name, removed_at in list(self._removed_at.items()):
            is_overdue = now - removed_at > self._longest_request_s
            if self._serving.in_use.users(name) and not is_overdue:
                continue
            if is_overdue:
                log.error("requests still use %s, which was removed %.0f s ago; it ends now", name, now - removed_at)
            del self._removed_at[name]
            await self._serving.forget(self._watches[name].card)
