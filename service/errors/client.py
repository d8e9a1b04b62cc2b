"""Problems that the caller can correct: status 4xx."""

# A class name is a wire code, and would carry the suffix Error to every caller.
# ruff: noqa: N818

from service.errors.base import ServiceError


class EmptyBody(ServiceError):
    """The request has no body, or a part of it holds no bytes."""

    status = 400
    title = "No picture was sent"
    cure = "Send the picture as the body, as a multipart field named file, or as base64 in JSON."


class MalformedJson(ServiceError):
    """The body says it is JSON and is not, or its members are not the documented ones."""

    status = 400
    title = "The JSON body could not be read"
    cure = 'Send {"images": [{"content": "<base64>"}]}.'


class MalformedMultipart(ServiceError):
    """The body says it is multipart/form-data and breaks its grammar (RFC 7578)."""

    status = 400
    title = "The multipart body could not be read"
    cure = "Let your HTTP library build the form, and its boundary with it."


class MalformedRequest(ServiceError):
    """The bytes are no HTTP request, or contradict themselves; the connection is closed."""

    status = 400
    title = "The request is not HTTP"
    cure = "Send HTTP/1.1, with one Content-Length or chunks."


class InvalidBase64(ServiceError):
    """A picture in a JSON body is not standard base64 (RFC 4648, section 4)."""

    status = 400
    title = "The picture is not valid base64"
    cure = "Encode with the standard alphabet and padding; a data: URI prefix is allowed."


class InvalidHeader(ServiceError):
    """A request header that we act on has a value that it cannot have."""

    status = 400
    title = "A header cannot be used"
    cure = "See errors for the header and what it may hold; leave it out for the default."


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


class RouteNotFound(ServiceError):
    """Nothing is served at this path."""

    status = 404
    title = "No such path"
    cure = "See /docs for what is served."


class ModelNotFound(ServiceError):
    """No model of that name is served for this task."""

    status = 404
    title = "No such model"
    cure = "GET /v1/models lists the models and their tasks."


class MethodNotAllowed(ServiceError):
    """The path exists, with other methods."""

    status = 405
    title = "Method not allowed"
    cure = "Use one of the methods in the Allow header."


class NotAcceptable(ServiceError):
    """None of the media types in Accept can be produced for this request."""

    status = 406
    title = "No acceptable representation"
    cure = "Accept application/json; pictures are for one picture sent to /v1/segment or /v1/explain."


class UploadTimeout(ServiceError):
    """The headers or the body did not arrive in time, or too slowly."""

    status = 408
    title = "The upload was too slow"
    cure = "Send again, on a faster connection or a smaller picture."


class PreconditionFailed(ServiceError):
    """The answer would be one that the request's If-None-Match names (RFC 9110, section 13.1.2)."""

    status = 412
    title = "You have this answer already"
    cure = "Use the answer that came with this ETag, or send the request without If-None-Match."


class BodyTooLarge(ServiceError):
    """The body, or one picture in it, has more bytes than allowed."""

    status = 413
    title = "The upload has too many bytes"
    cure = "Send fewer bytes than limit says."


class ImageTooLarge(ServiceError):
    """The picture's header declares more pixels, or a longer side, than allowed; it was not decoded."""

    status = 413
    title = "The picture has too many pixels"
    cure = "Scale the picture down before sending it."


class TooManyImages(ServiceError):
    """One request holds more pictures than allowed."""

    status = 413
    title = "Too many pictures in one request"
    cure = "Spread the pictures over several requests."


class UnsupportedMediaType(ServiceError):
    """The bytes are no picture of an accepted format, or the request's content type is none we read."""

    status = 415
    title = "Not an accepted type"
    cure = "Send one of the formats in accepted."


class InvalidParameter(ServiceError):
    """A query parameter, header or JSON member has a value outside its range."""

    status = 422
    title = "A parameter is out of range"
    cure = "See errors for each parameter, and /docs for its range."


class ImageCorrupt(ServiceError):
    """The picture is damaged, or ends before its last pixel."""

    status = 422
    title = "The picture could not be decoded"
    cure = "Check that the file opens elsewhere and was sent whole and unchanged."


class ImageTooSmall(ServiceError):
    """A side of the picture is shorter than allowed."""

    status = 422
    title = "The picture is too small"
    cure = "Send a larger picture."


class ImageTooCostly(ServiceError):
    """Decoding the picture takes more time or memory than is accepted, or than its bytes are worth."""

    status = 422
    title = "The picture costs too much to decode"
    cure = "Save it again as a plain JPEG or PNG, or scale it down."


class ImageModeUnsupported(ServiceError):
    """The picture's pixels are of a kind with no agreed way to colours, 32-bit floats for one."""

    status = 422
    title = "The picture's pixel format is not supported"
    cure = "Convert the picture to 8-bit RGB."


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


class HeadersTooLarge(ServiceError):
    """The request line and headers have more bytes than allowed, or the chunks have more framing than body."""

    status = 431
    title = "The headers have too many bytes"
    cure = "Send fewer or shorter headers, and larger chunks."
