"""Choose the version of a model for a request: the one that it names, or one by the traffic shares in force."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request

from service.config import traffic
from service.config.traffic import Split, Splits
from service.config.watched_file import RELOAD_S, WatchedFile
from service.errors import InvalidHeader, ModelNotFound
from service.gateway.inference.registry import ModelRegistry
from service.gateway.scheduling import request_terms
from service.models.cards import ModelCard
from service.tasks import PREDICT, can_run

HEADER = "X-Model-Version"
ALL_TO_THE_HIGHEST = Split()

Shares = WatchedFile[Splits]


def read(file: Path, registry: ModelRegistry, set_stale: Callable[[int], object], reload_s: float = RELOAD_S) -> Shares:
    """Return the content of the traffic file, which can be watched; see `WatchedFile`. Raises `TrafficError`."""
    return WatchedFile(file, lambda path: traffic.read(path, registry.cards.values()), set_stale, reload_s)


class Versions:
    """The served versions of each model, and how requests are spread over them."""

    def __init__(self, registry: ModelRegistry, shares: Shares | None, is_ready: Callable[[str], bool]) -> None:
        """Spread requests by `shares`; `is_ready` returns whether the model of a server name is ready."""
        self._registry = registry
        self._shares = shares
        self._is_ready = is_ready
        self._versions = traffic.by_version(registry.cards.values())

    def follow_registry(self) -> None:
        """Use the cards that the registry has now, and read the traffic file again, because it names versions."""
        self._versions = traffic.by_version(self._registry.cards.values())
        if self._shares is None:
            return
        self._shares.reload()
        kept = {family: split for family, split in self._shares.value.items() if self._has_versions_of(family, split)}
        self._shares.value = kept

    def split(self, family: str) -> Split:
        """Return a model's traffic split in the file."""
        return (self._shares.value if self._shares else {}).get(family, ALL_TO_THE_HIGHEST)

    def share(self, card: ModelCard) -> float:
        """Return this version's share, 0 to 1, of the model's requests that name no version."""
        weights = self._weights(card.family)
        return weights.get(card.version, 0.0) / sum(weights.values())

    def shadow(self, card: ModelCard) -> tuple[ModelCard, float] | None:
        """Return the version that receives this version's images as shadow traffic, and their share, 0 to 1."""
        shadow = self.split(card.family).shadow
        if shadow is None or shadow.version == card.version:
            return None
        return self._versions[card.family][shadow.version], shadow.share

    def traffic_shares(self, card: ModelCard) -> dict[str, float]:
        """Return the version's share of the requests and of the shadow traffic, as members of a `ModelSummary`."""
        shadow = self.split(card.family).shadow
        shadow_share = shadow.share if shadow and shadow.version == card.version else 0.0
        return {"share": round(self.share(card), 6), "shadow": shadow_share}

    def choose(self, request: Request, task: str, names: Sequence[str], operation: str = PREDICT) -> list[ModelCard]:
        """Return the cards of a task that serve a request, each once. Raises `ModelNotFound`, `InvalidHeader`."""
        named = names or [self._registry.default(task, operation).name]
        return self._registry.choose(task, [self.resolve(request, each, operation) for each in named], operation)

    def find(self, name: str) -> ModelCard:
        """Return the card of a model's name, in the version of the name or the highest. Raises `ModelNotFound`."""
        family, _, version = name.partition("@")
        versions = self._versions.get(family)
        if versions is None:
            raise self._registry.unknown(name)
        if version and version not in versions:
            raise ModelNotFound("The model is not served in that version.", available=list(versions))
        return versions[version or list(versions)[-1]]

    def all(self, family: str) -> list[str]:
        """Return the served versions of a model, lowest first."""
        return list(self._versions[family])

    def resolve(self, request: Request, name: str, operation: str = PREDICT) -> str:
        """Return the name of the card that serves a request for a model's name, which may include a version.

        A version that is not ready is skipped if another version with a share is ready. Raises `ModelNotFound`,
        `InvalidHeader`.
        """
        family, _, version = name.partition("@")
        wanted = request.headers.get(HEADER) or version
        if version and wanted != version:
            detail = f"{HEADER} names another version than the model's name."
            raise InvalidHeader(detail, errors=[{"parameter": HEADER, "detail": detail}])
        if family not in self._versions:
            return name
        if wanted:
            return self.find(f"{family}@{wanted}").name
        return self._by_share(request, family, operation)

    def groups(self) -> dict[str, list[str]]:
        """Return the server names of the models that can replace each other, by group.

        The versions of a model that have a weight in the file are a group. Without weights, each version is a group.
        """
        found: dict[str, list[str]] = {}
        for family, versions in self._versions.items():
            weights = self.split(family).weights
            if weights:
                found[family] = [versions[version].server_name for version, weight in weights.items() if weight]
            else:
                found |= {card.name: [card.server_name] for card in versions.values()}
        return found

    async def watch(self) -> None:
        """Reload the traffic file whenever it changes."""
        if self._shares:
            await self._shares.watch()

    def details(self) -> dict[str, Any]:
        """Return a `schemas.Traffic`."""
        return {
            "file": str(self._shares.file) if self._shares else None,
            "mistake": self._shares.mistake if self._shares else None,
            "models": {
                family: {
                    "sticky": self.split(family).sticky,
                    "shares": {card.version: round(self.share(card), 6) for card in versions.values()},
                    "shadow": self.split(family).model_dump()["shadow"],
                }
                for family, versions in self._versions.items()
            },
        }

    def _has_versions_of(self, family: str, split: Split) -> bool:
        named = {*split.weights, *([split.shadow.version] if split.shadow else [])}
        return named <= self._versions.get(family, {}).keys()

    def _by_share(self, request: Request, family: str, operation: str) -> str:
        versions = self._versions[family]
        weights = {
            each: weight
            for each, weight in self._weights(family).items()
            if weight and can_run(versions[each], operation)
        }
        if not weights:
            return family
        if len(weights) == 1:
            return versions[next(iter(weights))].name
        weights = {each: weights[each] for each in weights if self._is_ready(versions[each].server_name)} or weights
        return versions[traffic.choose(weights, family, self._key(request, family))].name

    def _weights(self, family: str) -> dict[str, float]:
        return self.split(family).weights or {list(self._versions[family])[-1]: 1.0}

    def _key(self, request: Request, family: str) -> str:
        """Return the key that decides on the version: the caller, or a random number."""
        if self.split(family).sticky == "caller":
            return request_terms.caller_of(request)
        request.state.has_random_version = True
        return f"{random.getrandbits(64)}"
