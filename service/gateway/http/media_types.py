"""The media types of requests and responses."""

from service.imaging import decoder

JSON = "application/json"
MULTIPART = "multipart/form-data"
OCTETS = "application/octet-stream"


def media_type(kind: str) -> str:
    """The media type of a format of `decoder.accepted`."""
    return f"image/{kind.lower()}"


def accepted() -> list[str]:
    """The media types of a request's body."""
    return [*map(media_type, decoder.accepted()), OCTETS, MULTIPART, JSON]
