"""Who is let in: so many pictures a model, so many bytes in memory, and nobody whose answer would come too late.

What does not fit is refused at once, with the time after which it would.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from prometheus_client import Gauge

from service.errors import Overloaded
from service.gateway.scheduling.request_terms import RequestTerms
from service.models.cards import ModelCard
from service.tasks.operations import BEST_PLACES, Question

# Beyond `places` a caller with less than an equal share of them is still let in, up to so many times the places: a
# flood fills the house, and whoever comes beside it finds a door.
STRETCH = 2
LONGEST_RETRY_S = 60
PLACES: Final[dict[Question, int]] = {"best": BEST_PLACES}  # that a picture takes, where it is more than one

WaitEstimate = Callable[[ModelCard, RequestTerms, int], float]


class Admission:
    """Counts each caller's pictures that wait for a model or are in it; `taken` shows the sum to the autoscaler."""

    def __init__(self, places: int, taken: Gauge, outlook: WaitEstimate = lambda _card, _terms, _pictures: 0.0) -> None:
        """`outlook` foretells in how many seconds so many more pictures of a caller would be answered by a model."""
        self.places = places
        self.returned = 0  # so often places were given back
        self._taken = taken
        self._outlook = outlook
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def check(self, cards: Sequence[ModelCard], terms: RequestTerms, pictures: int = 1) -> None:
        """Raise `Overloaded` if a model has no room for that many, or could not answer them before the deadline."""
        now = asyncio.get_running_loop().time()
        for card in cards:
            outlook_s = self._outlook(card, terms, pictures)
            self._check_room(card.name, terms.caller, pictures * PLACES.get(terms.question, 1), outlook_s)
            late_s = now + outlook_s - terms.deadline(card, now)
            if outlook_s > 0 and late_s > 0:
                raise Overloaded(
                    f"{card.name} would answer in {outlook_s:.1f} s, {late_s:.1f} s after the deadline",
                    retry_after_s=min(late_s, LONGEST_RETRY_S),
                )

    @contextmanager
    def enter(self, cards: Sequence[ModelCard], terms: RequestTerms, pictures: int) -> Iterator[None]:
        """Hold a place for each picture at each model, all of them or none. Raises `Overloaded`."""
        self.check(cards, terms, pictures)
        places = pictures * PLACES.get(terms.question, 1)
        self._add(cards, terms.caller, places)
        try:
            yield
        finally:
            self._add(cards, terms.caller, -places)
            self.returned += 1

    def _check_room(self, model: str, caller: str, places: int, outlook_s: float) -> None:
        counts = self._counts[model]
        total, mine = counts.total() + places, counts[caller] + places
        share = self.places // len({*counts, caller})
        if total > self.places and (mine > share or total > STRETCH * self.places):
            retry_s = min(outlook_s, LONGEST_RETRY_S)
            raise Overloaded(f"{model} has no place free", limit=self.places, actual=total, retry_after_s=retry_s)

    def _add(self, cards: Sequence[ModelCard], caller: str, places: int) -> None:
        for card in cards:
            counts = self._counts[card.name]
            counts[caller] += places
            if not counts[caller]:
                del counts[caller]
            self._taken.labels(card.name).set(counts.total())


class BodyBuffer:
    """The bytes that bodies may hold at one time, over all requests."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    @contextmanager
    def reserve(self) -> Iterator["Reservation"]:
        """A request's share, empty at first; what it grew to is given back at the end."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self.held -= reservation.held


class Reservation:
    """What one request holds of a `BodyBuffer`."""

    def __init__(self, memory: BodyBuffer) -> None:
        self._memory = memory
        self.held = 0

    def grow(self, size: int) -> None:
        """Take `size` bytes more. Raises `Overloaded` where they are not free."""
        if self._memory.held + size > self._memory.limit:
            raise Overloaded("too many uploads are arriving at one time")
        self._memory.held += size
        self.held += size
