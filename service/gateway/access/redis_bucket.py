"""Allowances that several gateways share, in Redis: one script, one round trip, Redis's own clock."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Literal

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisGone
from redis.exceptions import RedisError

from service.errors import RateLimitsUnavailable
from service.gateway.access.token_bucket import Allowance, LocalTokenBuckets, Policy, Standing

log = logging.getLogger(__name__)

CONNECTIONS = 32
# After a failure Redis is left alone for so long: otherwise every request would first wait for its silence.
PAUSE_S = 1.0
PREFIX = "resnest:quota"
BROKEN: dict[int, Policy | None] = {0: None, 1: "pictures", 2: "concurrency"}

# KEYS: when the caller has paid, its places. ARGV: microseconds a picture (0: no rate), burst, pictures, places (0: any
# number), microseconds that a place is held if nobody gives it back, the visit ("" for none). Of the reply the numbers
# are what was broken, microseconds of debt, places taken.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, pictures = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local places, lease, visit = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local counted = places > 0 and visit ~= ''
local paid_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local held = 0
if places > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  held = redis.call('ZCARD', KEYS[2])
  if counted and held >= places then return {2, paid_at - now, held} end
end
if interval > 0 then
  local owed = paid_at - now + pictures * interval
  if owed > burst * interval + 1 then return {1, paid_at - now, held} end
  paid_at = now + owed
  redis.call('SET', KEYS[1], string.format('%.0f', paid_at), 'PX', math.ceil(owed / 1000) + 1)
end
if counted then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), visit)
  redis.call('PEXPIRE', KEYS[2], math.ceil(lease / 1000))
  held = held + 1
end
return {0, paid_at - now, held}
"""


class RedisTokenBuckets:
    """Counts in Redis; where Redis does not answer, in this process or, with `alone` None, not at all: it refuses."""

    def __init__(
        self,
        url: str,
        timeout_s: float,
        lease_s: float,
        alone: LocalTokenBuckets | None,
        tell: Callable[[int], object],
        pause_s: float = PAUSE_S,
    ) -> None:
        """A place that nobody gives back, because its gateway died, is free after `lease_s`.

        `tell` hears 1 when Redis does not answer any more, and 0 when it does again. Raises `ValueError` for a URL that
        is none.
        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Once, at once: a connection that Redis closed while it was idle is found out only by using it.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisGone,)),
        )
        self._redis = Redis.from_pool(pool)
        self._script = self._redis.register_script(TAKE)
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        self._alone = alone
        self._tell = tell
        self._pause_s = pause_s
        self._paused_until = -math.inf
        self.state: Literal["shared", "failing"] = "shared"

    async def take(self, caller: str, allowance: Allowance, pictures: int, visit: str | None = None) -> Standing:
        """See `quotas.Quotas`."""
        if time.monotonic() >= self._paused_until:
            try:
                async with asyncio.timeout(self._timeout_s):
                    standing = await self._ask(caller, allowance, pictures, visit)
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)
            else:
                self._answered()
                return standing
        if self._alone is None:
            raise RateLimitsUnavailable("Redis, where callers' limits are counted, does not answer.")
        return await self._alone.take(caller, allowance, pictures, visit)

    async def leave(self, caller: str, visit: str) -> None:
        """See `quotas.Quotas`."""
        if self._alone is not None:
            await self._alone.leave(caller, visit)
        if time.monotonic() >= self._paused_until:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._redis.zrem(_names(caller)[1], visit)
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, caller: str, allowance: Allowance, pictures: int, visit: str | None) -> Standing:
        interval_us = 0 if allowance.rate is None else 1e6 / allowance.rate
        arguments = [interval_us, allowance.burst, pictures, allowance.concurrency or 0, self._lease_s * 1e6]
        broken, debt_us, held = await self._script(keys=_names(caller), args=[*arguments, visit or ""])
        return Standing(BROKEN[broken], debt_us / 1e6, held)

    def _failed(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + self._pause_s
        if self.state == "shared":
            self.state = "failing"
            log.error("callers' limits are not shared any more: %s", type(error).__name__)
            self._tell(1)

    def _answered(self) -> None:
        if self.state == "failing":
            self.state = "shared"
            log.warning("callers' limits are shared again")
            self._tell(0)


def _names(caller: str) -> list[str]:
    """The keys in Redis; what stands in braces puts both on one node of a cluster."""
    return [f"{PREFIX}:{{{caller}}}:{part}" for part in ("paid", "held")]
