"""What the command line shows of a model's card: a row of the list, and all that the card states."""

from collections.abc import Iterator, Sequence
from typing import Any

from service.models.cards import ModelCard
from service.models.weights import store as weight_store

STATES = {"ready": "ready", "begun": "begun", "absent": "not pulled", "missing": "missing"}


def row(card: ModelCard, published: str) -> tuple[str, ...]:
    """Return name, size of the weights, size of the input, score and state. `published` names the score on cards."""
    from service.measure.tables import stated  # noqa: PLC0415 - a command imports what it needs

    score = stated(card.published, card.measured, published)
    return card.name, _memory(card), str(card.input.size), score, STATES[weight_store.state(card)]


def footnotes(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a sentence about each mark that rows of `row` have."""
    from service.measure.tables import STARRED  # noqa: PLC0415 - a command imports what it needs

    is_starred = any(score.endswith("*") for _, _, _, score, _ in rows)
    is_estimated = any(memory.startswith("~") for _, memory, _, _, _ in rows)
    starred, estimated = f"{STARRED}; the authors state the other scores", "~ estimated from the number of parameters"
    return [*([starred] if is_starred else ()), *([estimated] if is_estimated else ())]


def described(card: ModelCard) -> dict[str, Any]:
    """Return the card as JSON, with the state of its weights."""
    here = {"state": weight_store.state(card), "checksum": card.checksum, "weights_bytes": card.weights_bytes}
    return card.model_dump(mode="json", exclude_none=True) | here


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the leaves of tables and lists with their paths."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from flat(each, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict | str):
        for index, each in enumerate(value):
            yield from flat(each, f"{path}.{index + 1}")
    elif value not in ([], {}, None):
        yield path, value


def _memory(card: ModelCard) -> str:
    """Return the size of the weights in megabytes. If they are not here, estimate it from four bytes per parameter."""
    if card.weights_bytes is not None:
        return f"{card.weights_bytes / 1e6:.0f} MB"
    return f"~{card.network.parameters * 4 / 1e6:.0f} MB" if card.network.parameters else "-"
