"""All problems that a caller can receive. The class name gives the wire code, `status` the HTTP status (RFC 9457).

        ServiceError
        ├── 400 EmptyBody  MalformedJson  MalformedMultipart  MalformedRequest  InvalidBase64  InvalidHeader
        ├── 401 Unauthenticated
        ├── 403 Forbidden
        ├── 404 RouteNotFound  ModelNotFound
        ├── 405 MethodNotAllowed
        ├── 406 NotAcceptable
        ├── 408 UploadTimeout
        ├── 411 LengthRequired
        ├── 412 PreconditionFailed
        ├── 413 BodyTooLarge  ImageTooLarge  TooManyImages
        ├── 415 UnsupportedMediaType  ImageKindUnsupported
        ├── 422 InvalidParameter  ImageCorrupt  ImageTooSmall  ImageTooCostly  ImageModeUnsupported  MasksTooLarge
        ├── 429 RateLimited  ConcurrencyLimited
        ├── 431 HeadersTooLarge
        ├── 500 Internal
        ├── 502 BackendBadResponse
        ├── 503 Overloaded  BackendUnavailable  ModelRefused  DecodersUnavailable
        ├── 503 Draining  RateLimitsUnavailable  KeysUnavailable
        └── 504 DeadlineExceeded

The caller can correct a 4xx. After 408, 429, 502, 503 and 504 the same request may be sent again.
"""

from service.errors.base import ServiceError
from service.errors.client import (
    BodyTooLarge,
    ConcurrencyLimited,
    EmptyBody,
    Forbidden,
    HeadersTooLarge,
    ImageCorrupt,
    ImageKindUnsupported,
    ImageModeUnsupported,
    ImageTooCostly,
    ImageTooLarge,
    ImageTooSmall,
    InvalidBase64,
    InvalidHeader,
    InvalidParameter,
    LengthRequired,
    MalformedJson,
    MalformedMultipart,
    MalformedRequest,
    MasksTooLarge,
    MethodNotAllowed,
    ModelNotFound,
    NotAcceptable,
    PreconditionFailed,
    RateLimited,
    RouteNotFound,
    TooManyImages,
    Unauthenticated,
    UnsupportedMediaType,
    UploadTimeout,
)
from service.errors.server import (
    BackendBadResponse,
    BackendUnavailable,
    DeadlineExceeded,
    DecodersUnavailable,
    Draining,
    Internal,
    KeysUnavailable,
    ModelRefused,
    Overloaded,
    RateLimitsUnavailable,
)

__all__ = [
    "BackendBadResponse",
    "BackendUnavailable",
    "BodyTooLarge",
    "ConcurrencyLimited",
    "DeadlineExceeded",
    "DecodersUnavailable",
    "Draining",
    "EmptyBody",
    "Forbidden",
    "HeadersTooLarge",
    "ImageCorrupt",
    "ImageKindUnsupported",
    "ImageModeUnsupported",
    "ImageTooCostly",
    "ImageTooLarge",
    "ImageTooSmall",
    "Internal",
    "InvalidBase64",
    "InvalidHeader",
    "InvalidParameter",
    "KeysUnavailable",
    "LengthRequired",
    "MalformedJson",
    "MalformedMultipart",
    "MalformedRequest",
    "MasksTooLarge",
    "MethodNotAllowed",
    "ModelNotFound",
    "ModelRefused",
    "NotAcceptable",
    "Overloaded",
    "PreconditionFailed",
    "RateLimited",
    "RateLimitsUnavailable",
    "RouteNotFound",
    "ServiceError",
    "TooManyImages",
    "Unauthenticated",
    "UnsupportedMediaType",
    "UploadTimeout",
    "every_error",
]


def every_error() -> list[type[ServiceError]]:
    """Return all problem classes, sorted by status."""
    return sorted(ServiceError.__subclasses__(), key=lambda error: (error.status, error.__name__))
