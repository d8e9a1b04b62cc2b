"""Count how much of its allowance each caller has used: images by a token bucket, and concurrent requests.

The bucket is the generic cell rate algorithm (ITU-T I.371). It stores one number for each caller: the time at which
the caller's rate has paid for all that it sent. A caller whose time has passed has a full bucket and is forgotten, so
memory is bounded by the number of recent callers.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from service.config.api_keys import Quota

MAX_CALLERS = 16_384  # in memory, 8 MB measured; beyond, the least recently seen are forgotten
SLACK_S = 1e-6  # for rounding errors in sums of seconds

Policy = Literal["images", "concurrency"]


@dataclass(frozen=True)
class Allowance:
    """The limits of one caller: `rate` images a second after `burst` at once, and `concurrency` requests at a time."""

    rate: float | None
    burst: int
    concurrency: int | None

    @classmethod
    def of(cls, own: Quota, default: Quota, max_images: int) -> "Allowance":
        """Return a caller's own limits, with the default where it has none.

        If neither sets a burst, it is one second's images or `max_images`, whichever is more.
        """
        rate = own.rate or default.rate
        burst = own.burst or (default.burst if own.rate is None else None) or max(math.ceil(rate or 0), max_images)
        return cls(rate, burst, own.concurrency or default.concurrency)

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count."""
        return self.rate is not None or self.concurrency is not None


@dataclass(frozen=True)
class LimitStatus:
    """A caller's use of its limits: the violated policy, if any, the debt in seconds, and the concurrent requests."""

    violated: Policy | None = None
    debt_s: float = 0.0
    held: int = 0

    def left(self, allowance: Allowance) -> int:
        """Return the number of images that may be sent now."""
        owed = (self.debt_s - SLACK_S) * (allowance.rate or 0)
        return max(0, allowance.burst - math.ceil(max(0.0, owed)))

    def wait_s(self, allowance: Allowance, images: int) -> float:
        """Return the seconds until so many images may be sent."""
        return max(0.0, self.debt_s + (images - allowance.burst) / allowance.rate) if allowance.rate else 0.0


class TokenBuckets(Protocol):
    """A store of the callers' token buckets and concurrent requests."""

    @property
    def state(self) -> Literal["local", "shared", "failing"]:
        """Whether this gateway counts alone, shares the counts, or should share them and cannot."""

    async def take(self, caller: str, allowance: Allowance, images: int, permit_id: str | None = None) -> LimitStatus:
        """Count images and, with a `permit_id`, one concurrent request: both or, if a limit is violated, neither.

        Raise `RateLimitsUnavailable`.
        """

    async def release(self, caller: str, permit_id: str) -> None:
        """Stop counting that request as concurrent."""

    async def close(self) -> None:
        """Close connections."""


@dataclass
class _Account:
    paid_at: float = 0.0
    permits: set[str] = field(default_factory=set)


class LocalTokenBuckets:
    """Token buckets in the memory of this process."""

    state: Literal["local"] = "local"

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_callers: int = MAX_CALLERS) -> None:
        self._clock = clock
        self._max_callers = max_callers
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def __len__(self) -> int:
        return len(self._accounts)

    async def take(self, caller: str, allowance: Allowance, images: int, permit_id: str | None = None) -> LimitStatus:
        """See `TokenBuckets`."""
        now = self._clock()
        account = self._account(caller, now)
        debt_s = max(0.0, account.paid_at - now)
        permits = {permit_id} if permit_id is not None and allowance.concurrency is not None else set()
        if permits and len(account.permits) >= (allowance.concurrency or 0):
            return LimitStatus("concurrency", debt_s, len(account.permits))
        if allowance.rate is not None:
            cost_s = images / allowance.rate
            if debt_s + cost_s > allowance.burst / allowance.rate + SLACK_S:
                return LimitStatus("images", debt_s, len(account.permits))
            debt_s += cost_s
            account.paid_at = now + debt_s
        account.permits |= permits
        return LimitStatus(None, debt_s, len(account.permits))

    async def release(self, caller: str, permit_id: str) -> None:
        """See `TokenBuckets`."""
        account = self._accounts.get(caller)
        if account is not None:
            account.permits.discard(permit_id)

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    def _account(self, caller: str, now: float) -> _Account:
        if caller not in self._accounts and len(self._accounts) >= self._max_callers:
            self._forget(now)
        account = self._accounts.setdefault(caller, _Account())
        self._accounts.move_to_end(caller)
        return account

    def _forget(self, now: float) -> None:
        """Forget all idle callers without debt and, if those are few, the least recently seen of those with debt.

        Callers with concurrent requests stay: there are at most as many as requests in flight.
        """
        idle = [(name, account.paid_at > now) for name, account in self._accounts.items() if not account.permits]
        owing = [name for name, owes in idle if owes]
        gone = [name for name, owes in idle if not owes]
        gone += owing[: max(0, self._max_callers // 8 + 1 - len(gone))]
        for name in gone:
            del self._accounts[name]
