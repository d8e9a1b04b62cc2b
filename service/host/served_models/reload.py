"""Changes the served models of a run in steps, between which its supervisor does its other work.

Every step before the gateways serve the new models can be taken back, and is taken back if one fails: the old models
answered meanwhile. After it, nothing can fail: the old models end when no request uses them.
"""

import logging
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass

from service.config import traffic
from service.config.traffic import TrafficError
from service.host import torchserve
from service.host.run_options import RunOptions
from service.host.served_models import default_models, memory, packaging
from service.host.served_models.model_server import ModelServerError
from service.host.served_models.selection import select
from service.host.served_models.served import Change, ServedModels
from service.models import model_order, zoo
from service.models.cards import CardError, ModelCard

log = logging.getLogger(__name__)

DRAIN_S = 300.0  # for requests that use a removed model; the gateways end them earlier

Say = Callable[[str], None]
Steps = Generator[None, None, None]


class ReloadError(RuntimeError):
    """The models were not changed; the message says why."""


EXPECTED = (ReloadError, CardError, TrafficError, ModelServerError, OSError)  # any other error is a bug


@dataclass(frozen=True)
class ReloadRequest:
    """What an operator asks for: the models of these names in place of those of the start, or again the store's."""

    models: tuple[str, ...] = ()
    ignore_memory: bool = False


@dataclass(frozen=True)
class Tree:
    """What a reload sees of the process tree.

    `gateways` returns the ids of the gateway processes, and `starts` how often the model server was started.
    `load_failure` returns why a worker process could not load a model, if one could not.
    """

    gateways: Callable[[], list[int]]
    starts: Callable[[], int]
    load_failure: Callable[[], str]


class Reload:
    """One change of the served models."""

    def __init__(self, request: ReloadRequest, served: ServedModels, tree: Tree, options: RunOptions, say: Say) -> None:
        """Change `served` as the request says; the options are those of the run."""
        self._request = request
        self._served = served
        self._tree = tree
        self._options = options
        self._say = say
        self._starts = tree.starts()
        self._refused: list[ModelCard] = []
        self._unreadable: frozenset[str] = frozenset()

    def steps(self) -> Steps:
        """Make the change, and yield whenever something is awaited. Raises `ReloadError` if nothing was changed."""
        began = time.monotonic()
        change, before = Change([], [], []), self._served.shown
        try:
            change = self._served.change_to(self._select())
            self._check(change)
            change = self._package(change)
            self._check_memory(change)
            yield from self._start(change)
            self._served.become(change.wanted, self._refused, self._unreadable)
        except Exception as error:
            log.error("the models were not reloaded: %s", error, exc_info=not isinstance(error, EXPECTED))
            yield from self._take_back(change)
            raise ReloadError(str(error)) from error
        self._say_defaults(before)
        yield from self._end_removed(change)
        self._say(f"Reloaded in {time.monotonic() - began:.1f} s: {change.words()}")

    def _select(self) -> list[ModelCard]:
        """Return the cards to serve. A card that was readable must still be, or its model would silently go."""
        model_order.record(self._options.store)  # `_say_defaults` says what follows
        selection = select(self._options.store, self._request.models or self._options.models)
        new = selection.unreadable.keys() - self._served.unreadable
        if new:
            raise ReloadError("; ".join(selection.unreadable[folder] for folder in sorted(new)))
        self._unreadable = frozenset(selection.unreadable)
        selection.tell(self._say)
        return selection.cards

    def _check(self, change: Change) -> None:
        """Check the options of the run against the new models."""
        names = {card.name: card for card in change.wanted}
        missing = [name for name in self._options.default_models if zoo.find(names, name) is None]
        if missing:
            raise ReloadError(f"default models (--default) that would not be served: {', '.join(missing)}")
        if self._options.traffic_file:
            traffic.read(self._options.traffic_file, change.wanted)
        large = [card.name for card in change.added if torchserve.largest_frame(card) > torchserve.LARGEST_FRAME]
        if large:
            raise ReloadError(f"{', '.join(large)}: its batches have more than 256 MiB; lower batch_size, or restart")

    def _check_memory(self, change: Change) -> None:
        needed, available = sum(map(memory.needed, change.added)), memory.available()
        if needed and not self._request.ignore_memory:
            names = ", ".join(f"{card.name} {card.version}" for card in change.added)
            numbers = f"{needed >> 20} MiB needed (estimated) and {available >> 20} MiB available"
            if needed > available:
                raise ReloadError(
                    f"not enough memory to add {names}: {numbers}; old versions stay until new ones are ready, so "
                    "remove models first, or use --ignore-memory"
                )
            self._say(f"Adding {names}: {numbers}")

    def _package(self, change: Change) -> Change:
        """Write the archives of the new models. One that was left out before, and still fails, stays out."""
        packaged: dict[str, ModelCard] = {}
        for card in change.added:
            try:
                packaged[card.server_name] = packaging.package(card, self._served.archives)
            except CardError as error:
                if self._options.strict or not self._served.was_refused(card):
                    raise
                self._say(f"Leaving out a model, as before: {error}")
                self._refused.append(card)
        kept = {card.server_name for card in change.wanted} - {card.server_name for card in change.added}
        wanted = [
            packaged.get(card.server_name, card) for card in change.wanted if card.server_name in {*kept, *packaged}
        ]
        if not wanted:
            raise ReloadError("no model would be served")
        return Change(wanted, list(packaged.values()), change.removed)

    def _start(self, change: Change) -> Steps:
        """Start the workers of the new models, and wait until each has answered a probe image of every gateway."""
        for card in change.added:
            self._served.server.register(card)
            yield
        yield from self._await(lambda: self._loading(change))
        self._served.roster.write(self._served.listed, change.added)
        yield from self._await(self._acknowledging)
        for card in change.added:
            self._say(f"{card.name} {card.version} is ready")

    def _acknowledging(self) -> str:
        processes = self._tree.gateways()
        return self._served.roster.pending(processes) if processes else "no gateway process runs"

    def _loading(self, change: Change) -> str:
        failure = self._tree.load_failure()
        named = failure.startswith(tuple(f"{card.family}: " for card in change.added))
        if failure and (named or any(card.server_name in failure for card in change.added)):
            raise ReloadError(failure)
        unready = self._served.server.unready(change.added)
        return f"{', '.join(unready)} has no ready worker processes" if unready else ""

    def _await(self, pending: Callable[[], str]) -> Steps:
        """Wait until nothing is pending. Raises `ReloadError` after the time that a start may take."""
        deadline = time.monotonic() + self._options.start_timeout_s
        while True:
            # First: a model server that was started again has the old models, whatever was acknowledged before.
            if self._tree.starts() != self._starts:
                raise ReloadError("the model server was started again meanwhile")
            if not (reason := pending()):
                return
            if time.monotonic() > deadline:
                raise ReloadError(f"not ready after {self._options.start_timeout_s:g} s: {reason}")
            yield

    def _say_defaults(self, before: list[ModelCard]) -> None:
        for line in default_models.changes(before, self._served.shown, self._options.default_models):
            self._say(line)
            log.warning("%s", line)

    def _end_removed(self, change: Change) -> Steps:
        """End the removed models when no request uses them."""
        yield from self._drain()
        yield from self._end(change.removed)
        for card in change.removed:
            self._say(f"{card.name} {card.version} has ended")
        names = ", ".join(f"{card.name} {card.version}" for card in change.wanted)
        log.info("the models were reloaded: %s; served are %s", change.words(), names)

    def _take_back(self, change: Change) -> Steps:
        """Serve what was served before, and end what was started."""
        try:
            self._served.roster.write(self._served.listed, reload_failed=True)
            yield from self._drain()
        except OSError as error:  # a full disk; no caller sees a model that was only prepared
            log.error("the list of the served models cannot be written: %s", error)
        yield from self._end(change.added)

    def _drain(self) -> Steps:
        deadline = time.monotonic() + DRAIN_S
        while (reason := self._served.roster.pending(self._tree.gateways())) and time.monotonic() < deadline:
            yield
        if reason:
            log.error("models end although a gateway process may still use them: %s", reason)

    def _end(self, cards: list[ModelCard]) -> Steps:
        """Unregister models, and delete their archives."""
        for card in cards:
            try:
                self._served.server.unregister(card)
            except ModelServerError as error:
                log.error("%s", error)
            shutil.rmtree(self._served.archives / card.server_name, ignore_errors=True)
            yield
