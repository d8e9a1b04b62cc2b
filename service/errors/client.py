"""Problems that the caller can correct: status 4xx."""

# The class name gives the wire code, so the suffix Error would appear in every code.
# ruff: noqa: N818

from collections.abc import Iterable
from typing import Self

from service.errors.base import ServiceError
from service.errors.wording import first_of


class EmptyBody(ServiceError):
    """The request has no body, or an image in it has no bytes."""

    status = 400
    title = "The request has no image"
    cure = "Send the image as the body, as a multipart field named file, or as base64 in JSON."


class MalformedJson(ServiceError):
    """The Content-Type is JSON, but the body is not valid JSON or its members are not the documented ones."""

    status = 400
    title = "The JSON body is not valid"
    cure = 'Send `{"images": [{"content": "<base64>"}]}`, or what /docs shows for this path.'


class MalformedMultipart(ServiceError):
    """The Content-Type is multipart/form-data, but the body breaks its grammar (RFC 7578)."""

    status = 400
    title = "The multipart body is not valid"
    cure = "Let your HTTP library build the form and set the Content-Type with its boundary."


class MalformedRequest(ServiceError):
    """The bytes are not a valid HTTP request, or its headers contradict each other. The connection is closed."""

    status = 400
    title = "The request is not valid HTTP"
    cure = "Send HTTP/1.1 with either one Content-Length or chunked transfer coding."


class InvalidBase64(ServiceError):
    """An image in a JSON body is not base64 (RFC 4648)."""

    status = 400
    title = "The image is not valid base64"
    cure = "Encode the bytes of the file with your language's base64 function. A data: URI prefix is allowed."


class InvalidHeader(ServiceError):
    """A request header that the service reads has a value that is not allowed."""

    status = 400
    title = "A header has an invalid value"
    cure = "See errors for the header and its allowed values. Leave the header out to use the default."


class Unauthenticated(ServiceError):
    """The request has no API key or token, or one that is unknown, expired or revoked."""

    status = 401
    title = "The request has no valid API key"
    cure = "Send an API key as Authorization: Bearer or as X-API-Key. To get one, ask the operator of the service."


class Forbidden(ServiceError):
    """The API key is valid, but its scopes do not allow this path or this model."""

    status = 403
    title = "The API key does not allow this request"
    cure = "Ask the operator of the service for a key with the scope in required_scope."


class RouteNotFound(ServiceError):
    """The service has no route for this path."""

    status = 404
    title = "No such path"
    cure = "Use the path that detail names, if it names one. /docs has all paths of this service."


class ModelNotFound(ServiceError):
    """No model of this name and version is served for this task."""

    status = 404
    title = "No such model"
    cure = "Use one of the names or versions in available. GET /v1/models lists all models and their tasks."


class MethodNotAllowed(ServiceError):
    """The path exists, but not for this method."""

    status = 405
    title = "Method not allowed"
    cure = "Use one of the methods in the Allow header."


class NotAcceptable(ServiceError):
    """None of the media types in Accept can be produced for this request."""

    status = 406
    title = "No media type in Accept can be produced"
    cure = "Accept application/json or one of the types in accepted. An image response requires exactly one image."


class UploadTimeout(ServiceError):
    """The headers or the body did not arrive in time, or the body arrived too slowly."""

    status = 408
    title = "The upload was too slow"
    cure = "Send the request again over a faster connection, or with smaller images."


class LengthRequired(ServiceError):
    """The request is HTTP/1.0 and may have a body, but has no Content-Length. The connection is closed."""

    status = 411
    title = "The length of the body is missing"
    cure = "Send a Content-Length, or send the request in HTTP/1.1."


class PreconditionFailed(ServiceError):
    """The response would have an ETag that the request's If-None-Match names (RFC 9110, section 13.1.2)."""

    status = 412
    title = "You already have this response"
    cure = "Use the response that came with this ETag, or send the request without If-None-Match."


class BodyTooLarge(ServiceError):
    """The body of the request has more bytes than allowed."""

    status = 413
    title = "The body has too many bytes"
    cure = "Send at most as many bytes as limit says: fewer images in a request, or smaller ones."


class ImageTooLarge(ServiceError):
    """The image has more pixels or a longer side than the service decodes, or than a WebP overlay can have."""

    status = 413
    title = "The image has too many pixels"
    cure = "Scale the image down before you send it. For an overlay, you can ask for PNG in place of WebP."


class TooManyImages(ServiceError):
    """The request has more images than allowed."""

    status = 413
    title = "Too many images in one request"
    cure = "Send several requests, each with at most as many images as limit says."


class UnsupportedMediaType(ServiceError):
    """The bytes are not an image in an accepted format, or the body has a type or encoding that is not accepted."""

    status = 415
    title = "The media type is not supported"
    cure = "Send one of the types in accepted, without Content-Encoding."


class ImageKindUnsupported(ServiceError):
    """The format is accepted, but not this kind of it, such as a lossless JPEG or a camera's raw file."""

    status = 415
    title = "This kind of image is not supported"
    cure = "Save the image again as a plain JPEG or PNG."


class InvalidParameter(ServiceError):
    """A query parameter, header or JSON member is unknown or has a value that is not allowed."""

    status = 422
    title = "A parameter is not valid"
    cure = "See errors for each invalid parameter, and /docs for its allowed values."

    @classmethod
    def of(cls, found: Iterable[tuple[str, str]], **bounds: int) -> Self:
        """Return the error about these parameters, from the name of each and what is wrong with it.

        Its detail is the first of them. `bounds` are the limit and the actual value, if there is a limit.
        """
        rows = [{"parameter": name, "detail": detail} for name, detail in found]
        return cls(first_of(rows), errors=rows, **bounds)


class ImageCorrupt(ServiceError):
    """The image is damaged, ends before its last pixel, or crashed the decoder."""

    status = 422
    title = "The image could not be decoded"
    cure = "Check that another program can open the file, and that the complete file was sent unchanged."


class ImageTooSmall(ServiceError):
    """The shorter side of the image has fewer pixels than allowed, or is too short for the longer side."""

    status = 422
    title = "The image is too small"
    cure = "Send an image whose shorter side has at least as many pixels as limit says."


class ImageTooCostly(ServiceError):
    """Decoding the image takes more time or memory than allowed, or it has too many pixels for its bytes."""

    status = 422
    title = "The image is too expensive to decode"
    cure = "Save the image again as a plain JPEG or PNG, or scale it down."


class MasksTooLarge(ServiceError):
    """The masks are wider together, have more pixels, or take more time or memory to render than allowed."""

    status = 422
    title = "The masks are too large together"
    cure = (
        "Leave the masks out with mask=none, ask for mask=rle, or scale the image down. "
        "For detections, you can also raise min_score, lower max_detections, or name fewer classes."
    )


class ImageModeUnsupported(ServiceError):
    """The image has a pixel format that has no standard conversion to RGB, such as 32-bit floats."""

    status = 422
    title = "The image's pixel format is not supported"
    cure = "Convert the image to 8-bit RGB."


class RateLimited(ServiceError):
    """The caller has sent images faster than its rate limit allows. The request was not processed further."""

    status = 429
    title = "The rate limit for images is exceeded"
    cure = (
        "Wait for Retry-After seconds, then send at most as many images as the RateLimit header allows. "
        "For more, ask the operator of the service for a higher limit."
    )
    retry_after_s = 1


class ConcurrencyLimited(ServiceError):
    """The caller already has as many requests in progress as its limit allows."""

    status = 429
    title = "Too many concurrent requests"
    cure = (
        "Wait for a response before you send the next request. "
        "For more, ask the operator of the service for a higher limit."
    )
    retry_after_s = 1


class HeadersTooLarge(ServiceError):
    """The request line and headers have too many bytes, or the chunks of the body have more framing than data."""

    status = 431
    title = "The headers have too many bytes"
    cure = "Send fewer or shorter headers. If you send the body in chunks, use larger chunks."
