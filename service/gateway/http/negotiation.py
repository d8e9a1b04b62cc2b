"""Choose the media type and the language that a request prefers (RFC 9110, sections 12.5.1 and 12.5.4)."""

from collections.abc import Sequence
from typing import Final

from starlette.requests import Request

from service.models.cards import ModelCard

MAX_RANGES: Final = 64  # the rest is ignored: to parse a header of 64 KiB would block the event loop for 20 ms


def preferred(accept: str | None, offers: Sequence[str]) -> str | None:
    """Return the offer with the highest quality, the first of equals; None if the header accepts none of them.

    Without a header every offer is accepted. A range with invalid syntax is ignored.
    """
    if accept is None or not accept.strip():
        return offers[0]
    ranges = [parsed for item in _items(accept) if (parsed := _range(item)) is not None]
    qualities = [(_quality(offer, ranges), -index) for index, offer in enumerate(offers)]
    best, index = max(qualities)
    return offers[-index] if best > 0 else None


def preferred_languages(accept: str | None) -> list[str]:
    """Return the ranges of an `Accept-Language` header, best first. A range with invalid syntax is ignored."""
    if not accept:
        return []
    ranges = [parsed for item in _items(accept) if (parsed := _weighted(item)) is not None]
    return [name for name, quality in sorted(ranges, key=lambda each: -each[1]) if quality > 0]


def localize(request: Request, lang: str | None, cards: Sequence[ModelCard]) -> list[ModelCard]:
    """Return the cards with labels in the request's language, or in the model's own if it has no such labels.

    `lang` overrides `Accept-Language`.
    """
    ranges = [lang] if lang else preferred_languages(request.headers.get("accept-language"))
    if not ranges:
        return list(cards)
    return [card.in_language(ranges) for card in cards]


def _items(accept: str) -> list[str]:
    return accept.split(",", MAX_RANGES)[:MAX_RANGES]


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
    """Return the quality of the most specific range that matches the offer, 0 without one."""
    kind = offer.partition("/")[0]
    qualities: dict[str, float] = {}
    for media, quality in ranges:
        qualities.setdefault(media, quality)
    for pattern in (offer, f"{kind}/*", "*/*"):
        if pattern in qualities:
            return qualities[pattern]
    return 0.0
