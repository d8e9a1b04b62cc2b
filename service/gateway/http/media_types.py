"""Name the media types of requests and responses."""

from service.imaging import decoder

JSON = "application/json"
MULTIPART = "multipart/form-data"
OCTETS = "application/octet-stream"


def media_type(kind: str) -> str:
    """Return the media type of an image format that `decoder.accepted_formats` names."""
    return f"image/{kind.lower()}"


def accepted() -> list[str]:
    """Return the media types that a request body may have."""
    return [*map(media_type, decoder.accepted_formats()), OCTETS, MULTIPART, JSON]
