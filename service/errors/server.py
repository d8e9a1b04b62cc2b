"""Problems of the service itself: status 5xx."""

# A class name is a wire code, and would carry the suffix Error to every caller.
# ruff: noqa: N818

from service.errors.base import ServiceError


class Internal(ServiceError):
    """An error of ours."""

    title = "Internal error"
    cure = "Send it again later; report the request_id if it goes on."


class BackendBadResponse(ServiceError):
    """The model server gave an answer that makes no sense."""

    status = 502
    title = "The model server answered nonsense"
    cure = "Send it again."


class Overloaded(ServiceError):
    """All places are taken, or the answer would come after the deadline; the request was refused before any work."""

    status = 503
    title = "The service is full"
    cure = "Send it again after Retry-After seconds."
    retry_after_s = 1


class BackendUnavailable(ServiceError):
    """No worker of the model is there to answer, or it died over this request."""

    status = 503
    title = "The model is not available now"
    cure = "Send it again after Retry-After seconds."
    retry_after_s = 2


class Draining(ServiceError):
    """This instance is shutting down."""

    status = 503
    title = "The service is shutting down"
    cure = "Send it again; another instance will answer."
    retry_after_s = 1


class RateLimitsUnavailable(ServiceError):
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


class DeadlineExceeded(ServiceError):
    """The answer was not there before the deadline."""

    status = 504
    title = "The deadline passed"
    cure = "Send it again, with fewer pictures or a longer Request-Timeout."
