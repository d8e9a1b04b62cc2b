"""Read the cards of all models of a store. A card that cannot be used stops no other model."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from service.models import cards
from service.models.cards import CardError, ModelCard

SHOWN_MODELS: Final = 8  # in an error message; this repository's store has 60
Check = Callable[[ModelCard], object]


class Zoo(dict[str, ModelCard]):
    """The cards of a store by name. `unreadable` has the reason for each folder whose card cannot be used."""

    def __init__(self, found: Mapping[str, ModelCard], unreadable: Mapping[str, str]) -> None:
        super().__init__(found)
        self.unreadable = dict(unreadable)

    def select(self, names: Iterable[str]) -> list[ModelCard]:
        """Return the cards of these names or `name@version`, each once. The highest version has both names.

        Raises `CardError` for unknown names, with the versions of a known model, and for an unreadable card with the
        reason. A plain name raises it too if any version of the model is unreadable, because that may be the highest.
        """
        names = list(names)
        for name in names:
            for folder, reason in self.unreadable.items():
                if name in (folder, folder.partition("@")[0]):
                    raise CardError(reason)
        selected = {name: find(self, name) for name in names}
        unknown = [name for name, card in selected.items() if card is None]
        if unknown:
            raise CardError(self._unknown(unknown))
        return list({card.name: card for card in selected.values() if card is not None}.values())

    def _unknown(self, names: list[str]) -> str:
        for name in names:
            family = name.partition("@")[0]
            versions = sorted((card.version_key, card.version) for card in self.values() if card.family == family)
            if versions:
                there = ", ".join(version for _, version in versions)
                return f"no model is named {name}; the versions of {family} are {there}"
        if len(self) <= SHOWN_MODELS:
            return f"no model is named {', '.join(names)}; there are {', '.join(self)}"
        similar = get_close_matches(names[0], self, n=3)
        hint = f"similar names: {', '.join(similar)}; " if similar else ""
        return f"no model is named {', '.join(names)}; {hint}`resnest-service models list` lists them"


def read_all(store: Path, check: Check | None = None) -> Zoo:
    """Return the cards by name of the models that can be served: their weights were pulled or came with the store.

    A card or label file that cannot be used is in `Zoo.unreadable`.
    """
    zoo = read_zoo(store, check)
    servable: dict[str, ModelCard] = {}
    for name, card in zoo.items():
        if card.checksum is None:
            continue
        try:
            _ = card.classes
        except CardError as error:
            zoo.unreadable[card.folder.name] = str(error)
        else:
            servable[name] = card
    return Zoo(servable, zoo.unreadable)


def read_zoo(store: Path, check: Check | None = None) -> Zoo:
    """Return every card of a store by name, also cards without weights.

    Among cards of one name, the highest version owns the plain name and the others are `name@version`. Cards that have
    the same name and version are unreadable. Labels are not read: a thousand labels for each of many models would take
    longer than everything else. A card for which `check` raises `CardError` is unreadable too.
    """
    read: dict[Path, ModelCard] = {}
    unreadable: dict[str, str] = {}
    for path in sorted(store.glob("[!.]*/card.toml")):
        try:
            card = read[path.parent] = cards.parse(path.parent)
            if check:
                check(card)
        except CardError as error:
            read.pop(path.parent, None)
            unreadable[path.parent.name] = str(error)
    for folders in _same(read.values()):
        for folder in folders:
            del read[folder]
            unreadable[folder.name] = f"{' and '.join(map(str, folders))} have the same name and version"
    highest = {card.name: card for card in sorted(read.values(), key=lambda card: card.version_key)}
    found: dict[str, ModelCard] = {}
    for card in read.values():
        known = card if highest[card.name] is card else card.model_copy(update={"name": f"{card.name}@{card.version}"})
        found[known.name] = known
    # The order counts where a store does not record one, so all versions of a name move to that of its first card.
    positions = {name: index for index, name in reversed(list(enumerate(card.family for card in found.values())))}
    return Zoo(dict(sorted(found.items(), key=lambda item: (positions[item[1].family], "@" in item[0]))), unreadable)


def _same(read: Iterable[ModelCard]) -> list[list[Path]]:
    """Return the folders of the cards that share their name and version."""
    folders: dict[tuple[str, tuple[int, ...]], list[Path]] = {}
    for card in read:
        folders.setdefault((card.name, card.version_key), []).append(card.folder)
    return [shared for shared in folders.values() if len(shared) > 1]


def read_nonempty_zoo(store: Path, check: Check | None = None) -> Zoo:
    """Return `read_zoo` of a store. Raises `CardError` also if the store has no card, or only unreadable ones."""
    zoo = read_zoo(store, check)
    if zoo.unreadable and not zoo:
        raise CardError("; ".join(zoo.unreadable.values()))
    if not zoo:
        raise CardError(f"{store.resolve()} holds no model: no <name>/card.toml is in it; choose another with --store")
    return zoo


def find(zoo: Mapping[str, ModelCard], name: str) -> ModelCard | None:
    """Return the card of that name, or None. The highest version is also found as `name@version`."""
    return zoo.get(name) or next((card for card in zoo.values() if f"{card.name}@{card.version}" == name), None)
