"""In which language labels are told."""

from collections.abc import Iterable, Sequence

from starlette.requests import Request

from service.gateway.http import negotiation
from service.models.cards import ModelCard


def spoken(request: Request, lang: str | None, cards: Sequence[ModelCard]) -> list[ModelCard]:
    """The cards with their labels in the language of the request, or their own where they have none of its.

    `lang` goes before `Accept-Language`.
    """
    ranges = [lang] if lang else negotiation.languages(request.headers.get("accept-language"))
    return [_looked_up(ranges, card) for card in cards]


def _looked_up(ranges: Iterable[str], card: ModelCard) -> ModelCard:
    """The card in the language by RFC 4647, section 3.4: each range is shortened from its end until a language fits."""
    known = {language.lower(): named for language, named in card.translations.items()}
    for each in ranges:
        rest = each.lower()
        while rest:
            if rest in known:
                return known[rest]
            rest = rest.rpartition("-")[0]
    return card
