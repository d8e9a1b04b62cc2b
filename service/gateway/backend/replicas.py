"""Keep the list of model servers by resolving their names, and choose one for each request."""

import asyncio
import logging
import random
import socket
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from service.config.settings import ServerAddress
from service.gateway.backend.circuit_breaker import CircuitBreaker, State
from service.gateway.backend.http_client import HttpClient
from service.gateway.metrics import RestartCause

log = logging.getLogger(__name__)

RESOLVE_INTERVAL_S = 5.0  # how long a cluster's DNS server lets clients cache a record
RETRY_RESOLVE_S = 0.5  # while no replica is known
RESOLVE_TIMEOUT_S = 2.0
# How long a server that said that it will stop is passed over. Then one restarted at its address is used again.
DRAIN_S = 60.0
MIN_USABLE_SHARE = 0.5  # this share of the replicas stays in use even if all fail: slow responses are better than none

Resolve = Callable[[str], Awaitable[Sequence[str]]]


@dataclass(frozen=True)
class WorkerStatus:
    """A replica's workers of a model, by its management API.

    `ready` has the ids of the processes that have an engine: what TorchServe calls a worker is a connection to one of
    them. `timeouts` counts the consecutive status requests that timed out. `is_refused` says that the replica has left
    the model out.
    """

    ready: frozenset[int] = frozenset()
    registered: bool = False
    timeouts: int = 0
    is_refused: bool = False


@dataclass
class Replacements:
    """Counts the processes that replace lost ones; the first ones, and more of them, replace nothing."""

    known: frozenset[int] = frozenset()
    lost: int = 0
    server_was_lost: bool = False

    def count(self, ready: frozenset[int]) -> tuple[RestartCause, int]:
        """Return how many lost processes those that are `ready` now replace, and whether their server was lost too."""
        self.lost += len(self.known - ready)
        replaced = min(self.lost, len(ready - self.known))
        self.lost -= replaced
        self.known = ready
        cause: RestartCause = "server" if self.server_was_lost else "process"
        is_whole = bool(ready) and not self.lost  # also a server that did not listen yet when the gateway started
        self.server_was_lost = self.server_was_lost and not replaced and not is_whole
        return cause, replaced


class Replica:
    """One model server: its HTTP clients, and for each model its circuit breaker and last known worker status."""

    def __init__(self, name: str, inference: HttpClient, management: HttpClient) -> None:
        self.name = name
        self.inference = inference
        self.management = management
        self.worker_status: dict[str, WorkerStatus] = {}
        self._circuits: dict[str, CircuitBreaker] = {}
        self._cannot_share: dict[str, frozenset[int]] = {}
        self._mismatched: dict[str, frozenset[int]] = {}
        self._replacements: dict[str, Replacements] = defaultdict(Replacements)
        self._drained_at = float("-inf")

    @classmethod
    def at(cls, server: ServerAddress, address: str | None) -> "Replica":
        """Return the replica at one of the host's addresses.

        The management URL uses that address too if it names the same host.
        """
        same_host = urlsplit(server.management).hostname == server.host
        name = server.inference if address in {None, server.host} else f"{server.inference} at {address}"
        management = HttpClient(server.management, address if same_host else None)
        return cls(name, HttpClient(server.inference, address), management)

    def circuit(self, model: str) -> CircuitBreaker:
        """Return the circuit breaker of a model at this replica."""
        if model not in self._circuits:
            self._circuits[model] = CircuitBreaker(f"{model} at {self.name}", asyncio.get_running_loop().time)
        return self._circuits[model]

    def may_answer(self, model: str) -> bool:
        """Return whether a worker of the model was ready at the last check, or no check was made yet."""
        status = self.worker_status.get(model)
        return status is None or bool(self.usable(model))

    def is_mismatched(self, model: str) -> bool:
        """Return whether a worker has said that its model has other files than this gateway; False for new workers."""
        return self._mismatched.get(model) == self._ready(model)

    def note_mismatch(self, model: str) -> None:
        """Note that a worker's model has other files than this gateway's store. New workers are asked again."""
        if not self.is_mismatched(model):
            log.warning("%s has other files of %s than this gateway, and gets no images of it", self.name, model)
        self._mismatched[model] = self._ready(model)

    @property
    def is_draining(self) -> bool:
        """Whether the server has said that it will stop."""
        return asyncio.get_running_loop().time() < self._drained_at + DRAIN_S

    def note_draining(self) -> None:
        """Note that the server has said that it will stop."""
        self._drained_at = asyncio.get_running_loop().time()

    def shares_memory(self, model: str) -> bool:
        """Return whether the model's workers may share memory with this process; True until they say otherwise."""
        return self._cannot_share.get(model) != self._ready(model)

    def note_unreadable(self, model: str) -> None:
        """Note that a worker of the model cannot read the shared memory. New workers are asked again."""
        self._cannot_share[model] = self._ready(model)

    def update(self, model: str, status: WorkerStatus) -> tuple[RestartCause, int]:
        """Store a model's status as the server gave it; return how many processes were replaced, and by what cause."""
        self.worker_status[model] = status
        return self._replacements[model].count(status.ready)

    def note_lost(self, model: str) -> None:
        """Note that the server does not answer."""
        self.worker_status[model] = WorkerStatus(registered=self.worker_status.get(model, WorkerStatus()).registered)
        self._replacements[model].server_was_lost = True

    def forget(self, model: str) -> None:
        """Forget a model that is no longer served."""
        for kept in (self.worker_status, self._circuits, self._cannot_share, self._mismatched, self._replacements):
            kept.pop(model, None)

    def usable(self, model: str) -> frozenset[int]:
        """Return the ids of the ready processes that may get images of the model."""
        return frozenset() if self.is_mismatched(model) else self._ready(model)

    def _ready(self, model: str) -> frozenset[int]:
        return self.worker_status.get(model, WorkerStatus()).ready

    async def close(self) -> None:
        """Close the connections."""
        await self.inference.close()
        await self.management.close()


async def resolve(host: str) -> list[str]:
    """Return the addresses of a host name: IPv4 if it has any, because a server with both families is one replica.

    Raise `OSError`.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, None, type=socket.SOCK_STREAM)
    addresses: dict[int, list[str]] = {}
    for family, _, _, _, address in found:
        addresses.setdefault(family, []).append(str(address[0]))
    return addresses.get(socket.AF_INET) or addresses.get(socket.AF_INET6, [])


class Replicas:
    """The replicas of all model servers; `refresh` resolves their names again."""

    def __init__(
        self, servers: Iterable[ServerAddress], resolve: Resolve = resolve, interval_s: float = RESOLVE_INTERVAL_S
    ) -> None:
        self._servers = list(servers)
        self._resolve = resolve
        self._interval_s = interval_s
        self._next_refresh = float("-inf")
        self._refreshing = asyncio.Lock()
        self._present: dict[tuple[ServerAddress, str | None], Replica] = {}

    @property
    def present(self) -> list[Replica]:
        """The replicas that currently exist."""
        return list(self._present.values())

    def circuits(self, model: str) -> Counter[State]:
        """Count the replicas by the state of the model's circuit breaker."""
        return Counter(replica.circuit(model).state for replica in self.present)

    def workers(self, model: str) -> int:
        """Return how many of the model's workers were ready at the last check, at least 1."""
        return max(1, sum(len(replica.usable(model)) for replica in self.present))

    def mismatched(self, model: str) -> int:
        """Return how many replicas have other files of the model than this gateway."""
        return sum(replica.is_mismatched(model) for replica in self.present)

    def choose(self, model: str, tried: Collection[Replica] = ()) -> Replica | None:
        """Return the replica for the next request, None if all are in `tried`.

        It is the less busy of two random replicas that may answer. Two, because gateways that all chose the least busy
        replica would choose the same one. A replica whose circuit breaker is half open has precedence. One that will
        stop is chosen only if there is no other. One with other files of the model is never chosen.
        """
        untried = [each for each in self.present if each not in tried and not each.is_mismatched(model)]
        untried = [replica for replica in untried if not replica.is_draining] or untried
        able = [replica for replica in untried if replica.may_answer(model)] or untried
        best = sorted(able, key=lambda replica: replica.circuit(model).rank)
        usable = sum(replica.circuit(model).rank == 0 for replica in able)
        pool = best[: max(usable, round(MIN_USABLE_SHARE * len(able)), 1)]
        for replica in pool:
            if replica.circuit(model).state == "half_open" and replica.circuit(model).rank == 0:
                return replica
        pair = random.sample(pool, 2) if len(pool) > 1 else pool
        return min(pair, key=lambda replica: replica.circuit(model).in_flight, default=None)

    def has_better(self, model: str, current: Replica) -> bool:
        """Return whether the current replica has no worker of the model, and another one has."""
        return not current.may_answer(model) and any(each.may_answer(model) for each in self.present)

    def forget(self, model: str) -> None:
        """Forget a model that is no longer served."""
        for replica in self.present:
            replica.forget(model)

    async def refresh(self) -> None:
        """Resolve the names again if `interval_s` has passed, or sooner if there is no replica."""
        loop = asyncio.get_running_loop()
        async with self._refreshing:
            if loop.time() < self._next_refresh:
                return
            wanted = [(server, address) for server in self._servers for address in await self._addresses(server)]
            for key in wanted:
                if key not in self._present:
                    self._present[key] = Replica.at(*key)
            gone = [self._present.pop(key) for key in self._present.keys() - set(wanted)]
            await asyncio.gather(*(replica.close() for replica in gone))
            self._next_refresh = loop.time() + (
                self._interval_s if self._present else min(self._interval_s, RETRY_RESOLVE_S)
            )

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(replica.close() for replica in self.present))

    async def _addresses(self, server: ServerAddress) -> list[str | None]:
        """Return the addresses of a server, the previous ones if its name cannot be resolved."""
        if server.host is None:
            return [None]
        try:
            async with asyncio.timeout(RESOLVE_TIMEOUT_S):
                return list(await self._resolve(server.host))
        except OSError as error:  # a TimeoutError is one
            log.warning("the name %s cannot be resolved: %s", server.host, error)
            return [address for known, address in self._present if known == server]
