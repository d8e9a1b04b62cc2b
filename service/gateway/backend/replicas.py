"""The model servers there are, by their addresses of the moment, and which of them is asked next."""

import asyncio
import logging
import random
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.config.settings import ServerAddress
from service.gateway.backend.circuit_breaker import CircuitBreaker, State
from service.gateway.backend.http_client import HttpClient

log = logging.getLogger(__name__)

RESOLVE_S = 5.0  # the time that a cluster's name server lets an answer be kept
SOON_S = 0.5
LOOK_UP_S = 2.0
KEPT = 0.5  # the share of a model's replicas that stay in use, however they fail: better slow than nothing

LookUp = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class WorkerStatus:
    """What a replica's management door said of a model: ready process ids, how many there should be, if registered."""

    ready: frozenset[int] = frozenset()
    configured: int | None = None
    silences: int = 0


class Replica:
    """One model server: its doors, and for each model its circuit and what was last seen of its workers."""

    def __init__(self, name: str, inference: HttpClient, management: HttpClient) -> None:
        self.name = name
        self.inference = inference
        self.management = management
        self.looks: dict[str, WorkerStatus] = {}
        self._circuits: dict[str, CircuitBreaker] = {}

    @classmethod
    def at(cls, place: ServerAddress, address: str | None) -> "Replica":
        """The server at one of the host's addresses; both doors are there where both name the same host."""
        same = urlsplit(place.management).hostname == place.host
        name = place.inference if address in {None, place.host} else f"{place.inference} at {address}"
        return cls(name, HttpClient(place.inference, address), HttpClient(place.management, address if same else None))

    def circuit(self, model: str) -> CircuitBreaker:
        """The circuit of a model here."""
        if model not in self._circuits:
            self._circuits[model] = CircuitBreaker(f"{model} at {self.name}", asyncio.get_running_loop().time)
        return self._circuits[model]

    def may_answer(self, model: str) -> bool:
        """Whether a worker of the model was ready when last seen, or nobody has looked yet."""
        look = self.looks.get(model)
        return look is None or bool(look.ready)

    async def close(self) -> None:
        """Give back the connections."""
        await self.inference.close()
        await self.management.close()


async def look_up(host: str) -> list[str]:
    """The addresses of a name, of IPv4 where it has any: a server with both is one. Raises `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses: dict[int, list[str]] = {}
    for family, _, _, _, where in found:
        addresses.setdefault(family, []).append(str(where[0]))
    return addresses.get(socket.AF_INET) or addresses.get(socket.AF_INET6, [])


class Replicas:
    """All replicas at some places; `refresh` follows the names as they come to mean other addresses."""

    def __init__(
        self, places: Iterable[ServerAddress], look_up: LookUp = look_up, interval_s: float = RESOLVE_S
    ) -> None:
        self._places = list(places)
        self._look_up = look_up
        self._interval_s = interval_s
        self._due = float("-inf")
        self._refreshing = asyncio.Lock()
        self._present: dict[tuple[ServerAddress, str | None], Replica] = {}

    @property
    def present(self) -> list[Replica]:
        """Those there are."""
        return list(self._present.values())

    def circuits(self, model: str) -> Counter[State]:
        """How many replicas have the model's circuit in each state."""
        return Counter(replica.circuit(model).state for replica in self.present)

    def workers(self, model: str) -> int:
        """How many of the model's workers were ready when last seen, at least one."""
        return max(1, sum(len(replica.looks[model].ready) for replica in self.present if model in replica.looks))

    def choose(self, model: str, tried: Collection[Replica] = ()) -> Replica | None:
        """The one to ask next, but none of `tried`: of two that may answer, by chance, the one with less to do.

        Two, because gateways that all took the least busy one would all take the same. One that is due to be tried
        again is asked before any.
        """
        left = [replica for replica in self.present if replica not in tried]
        fit = [replica for replica in left if replica.may_answer(model)] or left
        best = sorted(fit, key=lambda replica: replica.circuit(model).rank)
        usable = sum(replica.circuit(model).rank == 0 for replica in fit)
        pool = best[: max(usable, round(KEPT * len(fit)), 1)]
        for replica in pool:
            if replica.circuit(model).state == "half_open" and replica.circuit(model).rank == 0:
                return replica
        pair = random.sample(pool, 2) if len(pool) > 1 else pool
        return min(pair, key=lambda replica: replica.circuit(model).in_flight, default=None)

    def has_better(self, model: str, asked: Replica) -> bool:
        """Whether the one that was asked has no worker left, and another has."""
        return not asked.may_answer(model) and any(each.may_answer(model) for each in self.present)

    async def refresh(self) -> None:
        """WorkerStatus the names up again where that is due, and soon where there is no replica at all."""
        loop = asyncio.get_running_loop()
        async with self._refreshing:
            if loop.time() < self._due:
                return
            wanted = [(place, address) for place in self._places for address in await self._addresses(place)]
            for key in wanted:
                if key not in self._present:
                    self._present[key] = Replica.at(*key)
            gone = [self._present.pop(key) for key in self._present.keys() - set(wanted)]
            await asyncio.gather(*(replica.close() for replica in gone))
            self._due = loop.time() + (self._interval_s if self._present else min(self._interval_s, SOON_S))

    async def close(self) -> None:
        """Give back all connections."""
        await asyncio.gather(*(replica.close() for replica in self.present))

    async def _addresses(self, place: ServerAddress) -> list[str | None]:
        """The addresses of a place; those it had before where its name cannot be looked up."""
        if place.host is None:
            return [None]
        try:
            async with asyncio.timeout(LOOK_UP_S):
                return list(await self._look_up(place.host))
        except OSError as error:  # a TimeoutError is one
            log.warning("the name %s cannot be looked up: %s", place.host, error)
            return [address for known, address in self._present if known == place]
