"""Holds each caller to what it may send, and tells it where it stands.

Counted are pictures, one for each model that is to answer it, and at least one a request: the first is paid for before
anything of the body is read, the others when their number is known.
"""

import math
from typing import Any

from service.config.api_keys import NO_QUOTA, Quota
from service.errors import ConcurrencyLimited, RateLimited, ServiceError, TooManyImages
from service.gateway.access.callers import Caller
from service.gateway.access.token_bucket import Allowance, Standing, TokenBuckets


class RateLimiter:
    """Gives each request its `Permit`."""

    def __init__(self, quotas: TokenBuckets, default: Quota, max_images: int) -> None:
        self.quotas = quotas
        self._default = default
        self._max_images = max_images
        self._usual = Allowance.of(NO_QUOTA, default, max_images)

    def visit(self, caller: Caller, request_id: str) -> "Permit":
        """A request of that caller, not let in yet."""
        own = caller.quota
        allowance = self._usual if own is NO_QUOTA else Allowance.of(own, self._default, self._max_images)
        return Permit(self.quotas, caller, allowance, request_id)


class Permit:
    """One request and what it uses of its caller's allowance."""

    def __init__(self, quotas: TokenBuckets, caller: Caller, allowance: Allowance, request_id: str) -> None:
        self._quotas = quotas
        self.caller = caller
        self._caller = f"{caller.label}/{caller.name}"
        self._allowance = allowance
        self._id = f"{request_id}/{id(self):x}"  # callers choose request ids, and may choose one twice
        self._standing = Standing()

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count."""
        return self._allowance.is_limited

    async def begin(self) -> None:
        """Take a place and pay for one picture. Raises `ConcurrencyLimited`, `RateLimited`, `RateLimitsUnavailable`."""
        if self.is_limited:
            await self._take(1, 1, self._id)

    async def end(self) -> None:
        """Give the place back."""
        if self._allowance.concurrency is not None:
            await self._quotas.leave(self._caller, self._id)

    async def pay(self, pictures: int) -> None:
        """Pay for all but the first of them. Raises `RateLimited`, or `TooManyImages` where no wait would help."""
        burst = self._allowance.burst
        if self._allowance.rate is None or pictures <= 1:
            return
        if pictures > burst:
            told = f"The request counts as {pictures} pictures; your limit lets {burst} in at once."
            raise TooManyImages(told, limit=burst, actual=pictures)
        await self._take(pictures - 1, pictures)

    def headers(self) -> dict[str, str]:
        """`RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11); none for the unlimited."""
        allowance, standing = self._allowance, self._standing
        policies, limits = [], []
        if allowance.rate is not None:
            left = standing.left(allowance)
            more_s = math.ceil(standing.wait_s(allowance, left + 1))
            policies.append(f'"pictures";q={allowance.burst};w={math.ceil(allowance.burst / allowance.rate)}')
            limits.append(f'"pictures";r={left};t={more_s}')
        if allowance.concurrency is not None:
            policies.append(f'"concurrency";q={allowance.concurrency};qu="concurrent-requests"')
            limits.append(f'"concurrency";r={max(0, allowance.concurrency - standing.held)}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)} if policies else {}

    async def _take(self, pictures: int, in_all: int, visit: str | None = None) -> None:
        """Take some of the `in_all` pictures that the request counts as, and that it will again where it is refused."""
        self._standing = await self._quotas.take(self._caller, self._allowance, pictures, visit)
        if self._standing.broken is not None:
            raise self._refusal(in_all)

    def _refusal(self, pictures: int) -> ServiceError:
        allowance = self._allowance
        violated: dict[str, Any] = {"violated-policies": [self._standing.broken]}
        if self._standing.broken == "concurrency":
            told = "As many of your requests are being answered as your limit allows at one time."
            held = self._standing.held
            return ConcurrencyLimited(told, limit=allowance.concurrency, actual=held + 1, **violated)
        wait_s = self._standing.wait_s(allowance, pictures)
        told = f"You may send {allowance.rate:g} pictures a second, after {allowance.burst} at once."
        return RateLimited(told, limit=allowance.burst, retry_after_s=wait_s, **violated)
