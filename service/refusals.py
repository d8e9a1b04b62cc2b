"""The problems of who calls and how much; `errors` has them among all."""

# A class name is a wire code, and would carry the suffix Error to every caller.
# ruff: noqa: N818

from service.problem import ServiceError


class Unauthenticated(ServiceError):
    """The request carries no key, or one that is not good (any more)."""

    status = 401
    title = "The request has no good key"
    cure = "Send a key as Authorization: Bearer, or as X-API-Key; ask whoever runs the service for one."


class Forbidden(ServiceError):
    """The key is good and does not open this path."""

    status = 403
    title = "The key does not open this"
    cure = "Ask for a key with the scope in required_scope."


class RateLimited(ServiceError):
    """The caller has sent more pictures than its limit allows in the time; nothing more of the request was done."""

    status = 429
    title = "You send too many pictures"
    cure = (
        "Wait Retry-After seconds, and send no more than the RateLimit header says is left; or ask for a higher limit."
    )
    retry_after_s = 1


class ConcurrencyLimited(ServiceError):
    """As many requests of the caller as its limit allows at one time are still being answered."""

    status = 429
    title = "You send too many requests at one time"
    cure = "Wait for an answer before the next request, or ask for a higher limit."
    retry_after_s = 1


class LimitsUnavailable(ServiceError):
    """Callers' limits are counted where several instances share them, which cannot be reached now."""

    status = 503
    title = "The limits cannot be checked now"
    cure = "Send it again after Retry-After seconds."
    retry_after_s = 1


class KeysUnavailable(ServiceError):
    """The public keys that tokens are verified by could not be fetched yet."""

    status = 503
    title = "Tokens cannot be verified now"
    cure = "Send it again after Retry-After seconds; API keys are accepted meanwhile."
    retry_after_s = 10
