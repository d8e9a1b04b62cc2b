"""Count the requests that use each model, so that a removed model ends only after its last request."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from service.models.cards import ModelCard


class ModelsInUse:
    """The number of requests and shadow images of each model, by its server name, from the choice of the model on."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    @contextmanager
    def hold(self, cards: Sequence[ModelCard]) -> Iterator[None]:
        """Count one more user of each of these models."""
        for card in cards:
            self._counts[card.server_name] += 1
        try:
            yield
        finally:
            for card in cards:
                self._counts[card.server_name] -= 1

    def users(self, server_name: str) -> int:
        """Return how many requests and shadow images use a model."""
        return self._counts[server_name]

    def forget(self, card: ModelCard) -> None:
        """Forget a model that is no longer served."""
        if not self._counts[card.server_name]:
            del self._counts[card.server_name]
