"""Who is let in: so many pictures a model, so many bytes in memory. What does not fit is refused at once."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from prometheus_client import Gauge

from service.errors import Overloaded


class Admission:
    """Counts the pictures that wait for a model or are in it; `taken` shows the count to the autoscaler."""

    def __init__(self, places: int, taken: Gauge) -> None:
        self.places = places
        self._taken = taken
        self._counts: dict[str, int] = {}

    def check(self, models: Sequence[str], pictures: int = 1) -> None:
        """Raise `Overloaded` if one of the models lacks that many free places."""
        for model in models:
            wanted = self._counts.get(model, 0) + pictures
            if wanted > self.places:
                raise Overloaded(f"{model} has no place free", limit=self.places, actual=wanted)

    @contextmanager
    def enter(self, models: Sequence[str], pictures: int) -> Iterator[None]:
        """Hold a place for each picture at each model, all of them or none. Raises `Overloaded`."""
        self.check(models, pictures)
        self._add(models, pictures)
        try:
            yield
        finally:
            self._add(models, -pictures)

    def _add(self, models: Sequence[str], pictures: int) -> None:
        for model in models:
            self._counts[model] = self._counts.get(model, 0) + pictures
            self._taken.labels(model).set(self._counts[model])


class Memory:
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
    """What one request holds of a `Memory`."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.held = 0

    def grow(self, size: int) -> None:
        """Take `size` bytes more. Raises `Overloaded` where they are not free."""
        if self._memory.held + size > self._memory.limit:
            raise Overloaded("too many uploads are arriving at one time")
        self._memory.held += size
        self.held += size
