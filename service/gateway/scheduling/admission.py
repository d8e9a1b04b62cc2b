"""Admission control and load shedding: admit requests by free slots, buffered bytes and the estimated wait.

A request that does not fit is rejected at once, with the time after which it may be sent again.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Self

from prometheus_client import Gauge

from service.errors import Overloaded
from service.gateway.scheduling.request_terms import RequestTerms
from service.models.cards import ModelCard
from service.tasks import operation_of

# When all slots are taken, a caller that holds no more than its equal share is still admitted, up to so many times the
# slots in total. So one caller's flood cannot lock others out.
STRETCH = 2
MAX_RETRY_S = 60

EstimateWait = Callable[[ModelCard, RequestTerms, int], float]


class Admission:
    """Admission control by the slots that each caller's images hold, from admission to the model's answer."""

    def __init__(
        self, slots: int, taken: Gauge, estimate_wait: EstimateWait = lambda _card, _terms, _images: 0.0
    ) -> None:
        """Admit up to `slots` images for each model.

        `taken` shows each model's slots in use to the autoscaler. `estimate_wait` returns the seconds until a model
        would have answered so many more images of a caller.
        """
        self.slots = slots
        self.released = 0  # how often slots were released
        self._taken = taken
        self._estimate_wait = estimate_wait
        self._counts: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def check(self, cards: Sequence[ModelCard], terms: RequestTerms, images: int = 1) -> None:
        """Raise `Overloaded` if a model has no slots for the images, or would answer them after the deadline."""
        now = asyncio.get_running_loop().time()
        for card in cards:
            wait_s = self._estimate_wait(card, terms, images)
            self._check_slots(card, terms.caller, _slots(cards, terms) * images, wait_s)
            late_s = now + wait_s - terms.deadline(card, now)
            if wait_s > 0 and late_s > 0:
                raise Overloaded(
                    f"{card.name} would answer in {wait_s:.1f} s, {late_s:.1f} s after the deadline.",
                    retry_after_s=min(late_s, MAX_RETRY_S),
                )

    @contextmanager
    def enter(self, cards: Sequence[ModelCard], terms: RequestTerms, images: int) -> Iterator[None]:
        """Hold the slots of the images at every model, or at none. Raise `Overloaded`."""
        self.check(cards, terms, images)
        slots = _slots(cards, terms) * images
        self._add(cards, terms.caller, slots)
        try:
            yield
        finally:
            self._add(cards, terms.caller, -slots)
            self.released += 1

    def _check_slots(self, card: ModelCard, caller: str, slots: int, wait_s: float) -> None:
        counts = self._counts[card.server_name]
        total, own = counts.total() + slots, counts[caller] + slots
        share = self.slots // len({*counts, caller})
        if total > self.slots and (own > share or total > STRETCH * self.slots):
            retry_s = min(wait_s, MAX_RETRY_S)
            raise Overloaded(f"{card.name} has no free slot.", limit=self.slots, actual=total, retry_after_s=retry_s)

    def _add(self, cards: Sequence[ModelCard], caller: str, slots: int) -> None:
        for card in cards:
            counts = self._counts[card.server_name]
            counts[caller] += slots
            if not counts[caller]:
                del counts[caller]
            self._taken.labels(card.name).set(counts.total())


class BodyBuffer:
    """The memory for request bodies, bounded over all requests; sizes are in bytes."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.held = 0

    def reserve(self) -> "Reservation":
        """Return a request's reservation, empty at first. As a context manager it releases its bytes at the end."""
        return Reservation(self)


class Reservation:
    """The bytes of a `BodyBuffer` that one request holds."""

    def __init__(self, buffer: BodyBuffer) -> None:
        self._buffer = buffer
        self.held = 0

    def grow(self, size: int) -> None:
        """Take `size` more bytes. Raise `Overloaded` if they are not free."""
        if self._buffer.held + size > self._buffer.limit:
            raise Overloaded("Too many uploads are arriving at the same time.")
        self._buffer.held += size
        self.held += size

    def __enter__(self) -> Self:
        """Return this reservation."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Release the bytes."""
        self._buffer.held -= self.held


def _slots(cards: Sequence[ModelCard], terms: RequestTerms) -> int:
    """Return the slots that one image takes at each model."""
    return operation_of(cards[0], terms.operation).slots
