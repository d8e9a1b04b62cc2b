"""Which media type or language a request likes best (RFC 9110, sections 12.5.1 and 12.5.4)."""

from collections.abc import Sequence
from typing import Final

RANGES: Final = 64  # are read, the rest passed over: reading all that 64 KiB can hold would hold up everybody for 20 ms


def preferred(accept: str | None, offers: Sequence[str]) -> str | None:
    """The offer with the highest quality, the earlier of equals; None where all are refused.

    No header accepts everything. A range that breaks the grammar counts as not sent.
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [parsed for item in _items(accept) if (parsed := _range(item)) is not None]
    qualities = [(_quality(offer, ranges), -place) for place, offer in enumerate(offers)]
    best, place = max(qualities)
    return offers[-place] if best > 0 else None


def languages(accept: str | None) -> list[str]:
    """The ranges of an `Accept-Language` header, the best first; a range that breaks the grammar counts as not sent."""
    ranges = [parsed for item in _items(accept or "") if (parsed := _weighted(item)) is not None]
    return [name for name, quality in sorted(ranges, key=lambda each: -each[1]) if quality > 0]


def _items(accept: str) -> list[str]:
    return accept.split(",", RANGES)[:RANGES]


def _range(item: str) -> tuple[str, float] | None:
    weighted = _weighted(item)
    return weighted if weighted and "/" in weighted[0] else None


def _weighted(item: str) -> tuple[str, float] | None:
    name, *parameters = (part.strip().lower() for part in item.split(";"))
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "q":
            return _with_quality(name, value.strip())
    return name, 1.0


def _with_quality(name: str, value: str) -> tuple[str, float] | None:
    whole, _, decimals = value.partition(".")
    if whole not in {"0", "1"} or not (decimals == "" or (decimals.isdecimal() and decimals.isascii())):
        return None
    quality = float(value)
    return (name, quality) if quality <= 1 else None


def _quality(offer: str, ranges: list[tuple[str, float]]) -> float:
    """The quality by the most specific range that holds the offer."""
    kind = offer.partition("/")[0]
    stated: dict[str, float] = {}
    for media, quality in ranges:
        stated.setdefault(media, quality)
    for pattern in (offer, f"{kind}/*", "*/*"):
        if pattern in stated:
            return stated[pattern]
    return 0.0
