"""What a run serves: the models, those that were left out, and what must follow when they change."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.host.served_models import model_archive
from service.host.served_models.model_server import ModelServer
from service.host.served_models.packaging import Packaged
from service.host.served_models.roster import FILE, RosterFile
from service.models.cards import CardError, ModelCard

Say = Callable[[str], None]


@dataclass(frozen=True)
class Change:
    """What differs between the served models and those that are wanted.

    `wanted` are the cards of all models to serve, in their order. Those that are kept have their new names. Those to
    add have server names that no model had before.
    """

    wanted: list[ModelCard]
    added: list[ModelCard]
    removed: list[ModelCard]

    def words(self) -> str:
        """Return the counts, such as `1 added, 1 replaced, 0 removed`."""
        before = {(card.family, card.version) for card in self.removed}
        replaced = sum((card.family, card.version) in before for card in self.added)
        return f"{len(self.added) - replaced} added, {replaced} replaced, {len(self.removed) - replaced} removed"


class ServedModels:
    """The models of one run. `loaded` are at the model server. `refused` were left out, which callers can see."""

    def __init__(self, packaged: Packaged, folder: Path, management: str) -> None:
        """Serve the packaged models; the run's folder is `folder`, and the model server's management API there."""
        self.loaded = list(packaged.loaded)
        self.refused = list(packaged.refused)
        self.unreadable = packaged.unreadable
        self.archives = packaged.archives
        self.server = ModelServer(management)
        self.roster = RosterFile(folder / FILE)

    @property
    def listed(self) -> list[ModelCard]:
        """The models that the gateways list: also those that were left out, if their cards can be read."""
        return [*self.loaded, *filter(_is_readable, self.refused)]

    @property
    def shown(self) -> list[ModelCard]:
        """The models of the list that the gateways have now, in its order."""
        known = {card.server_name: card for card in (*self.loaded, *self.refused)}
        return [known[entry.server_name] for entry in self.roster.written.served if entry.server_name in known]

    def become(self, loaded: list[ModelCard], refused: list[ModelCard], unreadable: frozenset[str]) -> None:
        """Serve these models from now on, and tell the gateways. Raises `OSError`, and then nothing has changed."""
        self.roster.write([*loaded, *filter(_is_readable, refused)])
        self.loaded, self.refused, self.unreadable = loaded, refused, unreadable

    def server_names(self) -> list[str]:
        """Return the names of the loaded models at the model server."""
        return [card.server_name for card in self.loaded]

    def leave_out(self, failed: Sequence[ModelCard]) -> None:
        """Serve no longer these models, which the model server cannot load."""
        self.refused += failed
        self.loaded = [card for card in self.loaded if card not in failed]

    def change_to(self, cards: Iterable[ModelCard]) -> Change:
        """Return what to change so that the models of these cards of the store are served.

        A model is kept if its archive has what would be written now: the card, the labels and the weights.
        """
        generation = self.roster.written.generation + 1
        wanted, added, kept = [], [], set()
        for card in cards:
            same = next((each for each in self.loaded if _is_version(each, card) and self._is_same(each, card)), None)
            if same is not None:
                kept.add(same.server_name)
                wanted.append(same.model_copy(update={"name": card.name}))
                continue
            name = f"{card.family}@{card.version}.{generation}"
            added.append(card.model_copy(update={"registered_as": name}))
            wanted.append(added[-1])
        return Change(wanted, added, [card for card in self.loaded if card.server_name not in kept])

    def was_refused(self, card: ModelCard) -> bool:
        """Return whether this version of the model was left out before."""
        return any(_is_version(each, card) for each in self.refused)

    def _is_same(self, served: ModelCard, card: ModelCard) -> bool:
        return model_archive.holds(self.archives, served.server_name, card)


def _is_version(card: ModelCard, other: ModelCard) -> bool:
    return (card.family, card.version) == (other.family, other.version)


def _is_readable(card: ModelCard) -> bool:
    try:
        return bool(card.classes)
    except CardError:
        return False
