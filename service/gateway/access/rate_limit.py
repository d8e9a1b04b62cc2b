"""Limit the images and concurrent requests of each caller, and report what is left.

An image counts once for each model that answers it, and a request counts as at least one image. The first image is
counted before the body is read, the others as soon as their number is known.
"""

import math
from typing import Any

from service.config.api_keys import NO_QUOTA, Quota
from service.errors import ConcurrencyLimited, RateLimited, ServiceError, TooManyImages
from service.gateway.access.callers import Caller
from service.gateway.access.token_bucket import Allowance, LimitStatus, TokenBuckets


class RateLimiter:
    """The rate limiter of all callers."""

    def __init__(self, buckets: TokenBuckets, default: Quota, max_images: int) -> None:
        self.buckets = buckets
        self._default = default
        self._max_images = max_images
        self._usual = Allowance.of(NO_QUOTA, default, max_images)

    def permit(self, caller: Caller, request_id: str) -> "Permit":
        """Return the permit of a request, which has not begun yet."""
        own = caller.quota
        allowance = self._usual if own is NO_QUOTA else Allowance.of(own, self._default, self._max_images)
        return Permit(self.buckets, caller, allowance, request_id)


class Permit:
    """The use of a caller's allowance by one request."""

    def __init__(self, buckets: TokenBuckets, caller: Caller, allowance: Allowance, request_id: str) -> None:
        self._buckets = buckets
        self.caller = caller
        self._caller = f"{caller.label}/{caller.name}"
        self._allowance = allowance
        self._id = f"{request_id}/{id(self):x}"  # callers choose request ids, and may repeat them
        self._status = LimitStatus()

    @property
    def is_limited(self) -> bool:
        """Whether there is anything to count."""
        return self._allowance.is_limited

    async def begin(self) -> None:
        """Count one request and one image. Raise `ConcurrencyLimited`, `RateLimited` or `RateLimitsUnavailable`."""
        if self.is_limited:
            await self._take(1, 1, self._id)

    async def end(self) -> None:
        """Stop counting the request as concurrent."""
        if self._allowance.concurrency is not None:
            await self._buckets.release(self._caller, self._id)

    async def acquire(self, images: int) -> None:
        """Count all images but the first. Raise `RateLimited`, or `TooManyImages` if waiting would not help."""
        burst = self._allowance.burst
        if self._allowance.rate is None or images <= 1:
            return
        if images > burst:
            detail = f"The request counts as {images} images; your limit allows {burst} at once."
            raise TooManyImages(detail, limit=burst, actual=images)
        await self._take(images - 1, images)

    def headers(self) -> dict[str, str]:
        """Return `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers-11); empty without limits."""
        allowance, status = self._allowance, self._status
        policies, limits = [], []
        if allowance.rate is not None:
            left = status.left(allowance)
            more_s = math.ceil(status.wait_s(allowance, left + 1))
            policies.append(f'"images";q={allowance.burst};w={math.ceil(allowance.burst / allowance.rate)}')
            limits.append(f'"images";r={left};t={more_s}')
        if allowance.concurrency is not None:
            policies.append(f'"concurrency";q={allowance.concurrency};qu="concurrent-requests"')
            limits.append(f'"concurrency";r={max(0, allowance.concurrency - status.held)}')
        return {"RateLimit-Policy": ", ".join(policies), "RateLimit": ", ".join(limits)} if policies else {}

    async def _take(self, images: int, total: int, permit_id: str | None = None) -> None:
        """Count some of the `total` images of the request; a rejected request has to wait for all of them."""
        self._status = await self._buckets.take(self._caller, self._allowance, images, permit_id)
        if self._status.violated is not None:
            raise self._rejection(total)

    def _rejection(self, images: int) -> ServiceError:
        allowance = self._allowance
        violated: dict[str, Any] = {"violated-policies": [self._status.violated]}
        if self._status.violated == "concurrency":
            detail = "As many of your requests are in progress as your limit allows."
            held = self._status.held
            return ConcurrencyLimited(detail, limit=allowance.concurrency, actual=held + 1, **violated)
        wait_s = self._status.wait_s(allowance, images)
        detail = f"You may send {allowance.rate:g} images a second, after {allowance.burst} at once."
        return RateLimited(detail, limit=allowance.burst, retry_after_s=wait_s, **violated)
