"""Share token buckets between gateways in Redis, with one script, one round trip and the clock of Redis."""

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

from service.config.outage import Outage
from service.errors import RateLimitsUnavailable
from service.gateway.access.token_bucket import Allowance, LimitStatus, LocalTokenBuckets, Policy

log = logging.getLogger(__name__)

CONNECTIONS = 32
# After a failure Redis is not used for so long: otherwise every request would first wait for its timeout.
PAUSE_S = 1.0
PREFIX = "resnest:quota"
VIOLATED: dict[int, Policy | None] = {0: None, 1: "images", 2: "concurrency"}

# KEYS: the time at which the caller has paid, and its permits.
# ARGV: microseconds for each image (0: no rate), burst, images, largest number of permits (0: unlimited), lease, permit
# id ("" for none). The lease is in microseconds: a permit that is not released expires after it.
# Reply: violated policy, microseconds of debt, permits held.
TAKE = """
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local interval, burst, images = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local limit, lease, permit = tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local counted = limit > 0 and permit ~= ''
local paid_at = math.max(tonumber(redis.call('GET', KEYS[1]) or '0'), now)
local held = 0
if limit > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  held = redis.call('ZCARD', KEYS[2])
  if counted and held >= limit then return {2, paid_at - now, held} end
end
if interval > 0 then
  local owed = paid_at - now + images * interval
  if owed > burst * interval + 1 then return {1, paid_at - now, held} end
  paid_at = now + owed
  redis.call('SET', KEYS[1], string.format('%.0f', paid_at), 'PX', math.ceil(owed / 1000) + 1)
end
if counted then
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + lease), permit)
  redis.call('PEXPIRE', KEYS[2], math.ceil(lease / 1000))
  held = held + 1
end
return {0, paid_at - now, held}
"""


class RedisTokenBuckets:
    """Token buckets in Redis. While it does not answer, `fallback` counts; without one, requests are rejected."""

    def __init__(
        self,
        url: str,
        timeout_s: float,
        lease_s: float,
        fallback: LocalTokenBuckets | None,
        set_failing: Callable[[int], object],
        pause_s: float = PAUSE_S,
    ) -> None:
        """Prepare connections to the Redis at `url`. Raise `ValueError` if that is not a Redis URL.

        A permit that is not released, because its gateway died, expires after `lease_s`. `set_failing` is called with 1
        when Redis stops answering and with 0 when it answers again.
        """
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            # Retry once without delay: only its use shows that Redis closed an idle connection.
            retry=Retry(NoBackoff(), 1, supported_errors=(RedisGone,)),
        )
        self._redis = Redis.from_pool(pool)
        self._script = self._redis.register_script(TAKE)
        self._timeout_s = timeout_s
        self._lease_s = lease_s
        self._fallback = fallback
        self._set_failing = set_failing
        self._pause_s = pause_s
        self._paused_until = -math.inf
        self._outage = Outage(log, logging.ERROR)
        self.state: Literal["shared", "failing"] = "shared"

    async def take(self, caller: str, allowance: Allowance, images: int, permit_id: str | None = None) -> LimitStatus:
        """See `TokenBuckets`."""
        if time.monotonic() >= self._paused_until:
            try:
                async with asyncio.timeout(self._timeout_s):
                    status = await self._ask(caller, allowance, images, permit_id)
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)
            else:
                self._answered()
                return status
        if self._fallback is None:
            raise RateLimitsUnavailable("Redis, which counts the callers' limits, does not answer.")
        return await self._fallback.take(caller, allowance, images, permit_id)

    async def release(self, caller: str, permit_id: str) -> None:
        """See `TokenBuckets`."""
        if self._fallback is not None:
            await self._fallback.release(caller, permit_id)
        if time.monotonic() >= self._paused_until:
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._redis.zrem(_names(caller)[1], permit_id)
            except (RedisError, OSError, TimeoutError) as error:
                self._failed(error)

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _ask(self, caller: str, allowance: Allowance, images: int, permit_id: str | None) -> LimitStatus:
        interval_us = 0 if allowance.rate is None else 1e6 / allowance.rate
        arguments = [interval_us, allowance.burst, images, allowance.concurrency or 0, self._lease_s * 1e6]
        violated, debt_us, held = await self._script(keys=_names(caller), args=[*arguments, permit_id or ""])
        return LimitStatus(VIOLATED[violated], debt_us / 1e6, held)

    def _failed(self, error: Exception) -> None:
        self._paused_until = time.monotonic() + self._pause_s
        if self.state == "shared":
            self.state = "failing"
            self._outage.begin(f"callers' limits are no longer shared: {type(error).__name__}")
            self._set_failing(1)

    def _answered(self) -> None:
        if self.state == "failing":
            self.state = "shared"
            self._outage.end("callers' limits are shared again")
            self._set_failing(0)


def _names(caller: str) -> list[str]:
    """Return the caller's two keys in Redis. The part in braces puts both on the same node of a cluster."""
    return [f"{PREFIX}:{{{caller}}}:{part}" for part in ("paid", "held")]
