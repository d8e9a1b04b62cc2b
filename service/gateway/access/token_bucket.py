"""How much of its allowance a caller has used: pictures by a rate, and requests at one time.

The rate is a token bucket in the form of the generic cell rate algorithm (ITU-T I.371): one number for each caller, the
time at which all that it has sent would be paid for at its rate. A caller whose time has passed has a full bucket and
is forgotten, so that memory is bounded by those who sent something of late.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.config.api_keys import Quota

MOST = 16_384  # callers in memory, 8 MB, measured; beyond, those heard of longest ago are forgotten
SLACK_S = 1e-6  # what sums of seconds lose to rounding

Policy = Literal["pictures", "concurrency"]


@dataclass(frozen=True)
class Allowance:
    """What one caller may send: `rate` pictures a second after `burst` at once, `concurrency` requests at one time."""

    rate: float | None
    burst: int
    concurrency: int | None

    @classmethod
    def of(cls, own: Quota, default: Quota, max_images: int) -> "Allowance":
        """A caller's own limits, the default where it has none; a burst that neither names lets a full request in."""
        rate = own.rate or default.rate
        burst = own.burst or (default.burst if own.rate is None else None) or max(math.ceil(rate or 0), max_images)
        return cls(rate, burst, own.concurrency or default.concurrency)

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count."""
        return self.rate is not None or self.concurrency is not None


@dataclass(frozen=True)
class Standing:
    """Where a caller stands after it asked: what it broke, if anything, what is not paid for yet, and what it holds."""

    broken: Policy | None = None
    debt_s: float = 0.0
    held: int = 0

    def left(self, allowance: Allowance) -> int:
        """Pictures that may be sent now."""
        owed = (self.debt_s - SLACK_S) * (allowance.rate or 0)
        return max(0, allowance.burst - math.ceil(max(0.0, owed)))

    def wait_s(self, allowance: Allowance, pictures: int) -> float:
        """Seconds until so many pictures may be sent."""
        return max(0.0, self.debt_s + (pictures - allowance.burst) / allowance.rate) if allowance.rate else 0.0


class TokenBuckets(Protocol):
    """Where it is counted."""

    @property
    def state(self) -> Literal["local", "shared", "failing"]:
        """Whether this gateway counts alone, with others, or ought to with others and cannot."""

    async def take(self, caller: str, allowance: Allowance, pictures: int, visit: str | None = None) -> Standing:
        """Pay for pictures and, for a `visit`, take one of the caller's places; all of it or nothing.

        Raises `RateLimitsUnavailable`.
        """

    async def leave(self, caller: str, visit: str) -> None:
        """Give that place back."""

    async def close(self) -> None:
        """Give back connections."""


@dataclass
class _Account:
    paid_at: float = 0.0
    visits: set[str] = field(default_factory=set)


class LocalTokenBuckets:
    """Counts in this process."""

    state: Literal["local"] = "local"

    def __init__(self, clock: Callable[[], float] = time.monotonic, most: int = MOST) -> None:
        self._clock = clock
        self._most = most
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    async def take(self, caller: str, allowance: Allowance, pictures: int, visit: str | None = None) -> Standing:
        """See `TokenBuckets`."""
        now = self._clock()
        account = self._account(caller, now)
        debt_s = max(0.0, account.paid_at - now)
        placed = {visit} if visit is not None and allowance.concurrency is not None else set()
        if placed and len(account.visits) >= (allowance.concurrency or 0):
            return Standing("concurrency", debt_s, len(account.visits))
        if allowance.rate is not None:
            cost_s = pictures / allowance.rate
            if debt_s + cost_s > allowance.burst / allowance.rate + SLACK_S:
                return Standing("pictures", debt_s, len(account.visits))
            debt_s += cost_s
            account.paid_at = now + debt_s
        account.visits |= placed
        return Standing(None, debt_s, len(account.visits))

    async def leave(self, caller: str, visit: str) -> None:
        """See `TokenBuckets`."""
        account = self._accounts.get(caller)
        if account is not None:
            account.visits.discard(visit)

    async def close(self) -> None:
        """There is nothing to give back."""

    def _account(self, caller: str, now: float) -> _Account:
        if caller not in self._accounts and len(self._accounts) >= self._most:
            self._forget(now)
        account = self._accounts.setdefault(caller, _Account())
        self._accounts.move_to_end(caller)
        return account

    def _forget(self, now: float) -> None:
        """Forget all who owe nothing and, where those are few, some who do and were not heard of for the longest time.

        Whoever holds a place is kept: there are at most as many as requests in flight.
        """
        idle = [(name, account.paid_at > now) for name, account in self._accounts.items() if not account.visits]
        owing = [name for name, owes in idle if owes]
        gone = [name for name, owes in idle if not owes]
        gone += owing[: max(0, self._most // 8 + 1 - len(gone))]
        for name in gone:
            del self._accounts[name]
