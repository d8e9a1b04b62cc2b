"""Problems of the service itself: status 5xx."""

# The class name gives the wire code, so the suffix Error would appear in every code.
# ruff: noqa: N818

from service.errors.base import ServiceError


class Internal(ServiceError):
    """The service failed because of an error in its own code."""

    title = "Internal error"
    cure = "Send the request again later. If the error persists, report the request_id to the operator of the service."


class BackendBadResponse(ServiceError):
    """The model server sent a response that the gateway cannot use."""

    status = 502
    title = "The model server sent an invalid response"
    cure = "Send the request again. If the error persists, report the request_id to the operator of the service."


class Overloaded(ServiceError):
    """All slots are taken, or the response would come after the deadline. No model has seen the request."""

    status = 503
    title = "The service is overloaded"
    cure = "Send the request again after Retry-After seconds and a random pause. Double the pause each time."
    retry_after_s = 1


class BackendUnavailable(ServiceError):
    """The model has no worker that can answer, or its worker ended during this request."""

    status = 503
    title = "The model is not available now"
    cure = "Send the request again after Retry-After seconds."
    retry_after_s = 2


class ModelRefused(ServiceError):
    """The model server has left the model out, because its weights failed their check or did not fit the network."""

    status = 503
    title = "The model was left out at the start"
    cure = "Use another model, or ask the operator of the service. The log of the model server has the reason."
    retry_after_s = 60


class DecodersUnavailable(ServiceError):
    """No process that decodes images can be started, for example because the host has no memory left."""

    status = 503
    title = "Images cannot be decoded now"
    cure = "Send the request again after Retry-After seconds, or to another instance."
    retry_after_s = 5


class Draining(ServiceError):
    """This instance is shutting down and accepts no new requests."""

    status = 503
    title = "This instance is shutting down"
    cure = "Send the request again. Another instance will answer it."
    retry_after_s = 1


class RateLimitsUnavailable(ServiceError):
    """Several instances count the callers' rate limits in a shared store, which cannot be reached now."""

    status = 503
    title = "Rate limits cannot be checked now"
    cure = "Send the request again after Retry-After seconds."
    retry_after_s = 1


class KeysUnavailable(ServiceError):
    """The service could not yet fetch the public keys that it needs to verify tokens."""

    status = 503
    title = "Tokens cannot be verified now"
    cure = "Send the request again after Retry-After seconds. API keys are accepted meanwhile."
    retry_after_s = 10


class DeadlineExceeded(ServiceError):
    """The response was not ready before the deadline."""

    status = 504
    title = "The deadline passed"
    cure = "Send the request again with fewer images or a longer Request-Timeout."
