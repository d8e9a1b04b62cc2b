"""The weight file of a card, held against its checksum: the card's own, or the one recorded when it was pulled."""

import hashlib
import io
from pathlib import Path

from service.models.cards import CardError, ModelCard


class WeightsError(CardError):
    """Weights that could not be had, read or put in their place; the message is for the operator."""


class UnfitError(WeightsError):
    """A file that arrived whole and is not what the network needs: to get it again is no use."""


def verify(card: ModelCard) -> None:
    """Raise `CardError`, in one sentence, where the file is missing or is not the card's."""
    try:
        found = sha256(card.weights_path)
    except OSError as error:
        raise _unreadable(card, error) from error
    _compare(card, found)


def verified(card: ModelCard) -> bytes:
    """The file's bytes, the very ones that were held against the checksum. Raises `CardError` as `verify` does."""
    try:
        data = card.weights_path.read_bytes()
    except OSError as error:
        raise _unreadable(card, error) from error
    _compare(card, hashlib.file_digest(io.BytesIO(data), "sha256").hexdigest())
    return data


def int8(card: ModelCard) -> bytes:
    """The card's int8 file, the very bytes of its checksum.

    Raises `CardError` where there is none, it is another, or it was made of other weights than the card's.
    """
    again = f"`resnest-service quantise {card.name}` makes it"
    if card.int8 is None:
        raise WeightsError(f"{card.name}: it has no int8 form; {again}")
    try:
        data = (card.folder / card.int8.file).read_bytes()
    except OSError as error:
        raise WeightsError(f"{card.name}: its int8 form cannot be read: {error.strerror}; {again}") from error
    if hashlib.sha256(data).hexdigest() != card.int8.sha256:
        raise WeightsError(f"{card.name}: {card.folder / card.int8.file} is not the file that its card states; {again}")
    if card.int8.made_of != card.checksum:
        raise WeightsError(f"{card.name}: its int8 form was made of other weights; {again} anew")
    return data


def sha256(path: Path) -> str:
    """A file's SHA-256 in hexadecimal, 64 digits. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(card: ModelCard, found: str) -> None:
    if card.checksum is None:
        raise WeightsError(f"{card.name}: {card.record_path} with the checksum of its weights is missing")
    if found != card.checksum:
        stated = "the card states" if card.weights.sha256 else "it was pulled with"
        raise WeightsError(f"{card.name}: {card.weights_path} has the SHA-256 {found}, and {stated} {card.checksum}")


def _unreadable(card: ModelCard, error: OSError) -> CardError:
    if isinstance(error, FileNotFoundError) and card.weights.sources:
        return WeightsError(
            f"{card.name}: its weights are not here; `resnest-service models pull {card.name}` gets them"
        )
    return WeightsError(f"{card.name}: the weights {card.weights_path} cannot be read: {error.strerror}")
