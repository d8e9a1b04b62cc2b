"""Verify the weight file of a card against its checksum: from the card, or stored when the weights were pulled."""

import hashlib
import io
from pathlib import Path

from service.models.cards import CardError, ModelCard


class WeightsError(CardError):
    """Weights that could not be downloaded, read or installed; the message is for the operator."""


class IncompatibleWeightsError(WeightsError):
    """A complete file whose content does not fit the network, so that another download cannot help."""


def verify(card: ModelCard) -> None:
    """Check the weight file. Raises `CardError` if it is missing, its checksum differs, or the calibration's does."""
    try:
        found = sha256(card.weights_path)
    except OSError as error:
        raise _unreadable(card, error) from error
    _compare(card, found)


def read_verified(card: ModelCard) -> bytes:
    """Return the bytes of the weight file after they passed the check. Raises `CardError` as `verify` does."""
    try:
        data = card.weights_path.read_bytes()
    except OSError as error:
        raise _unreadable(card, error) from error
    _compare(card, hashlib.file_digest(io.BytesIO(data), "sha256").hexdigest())
    return data


def read_int8(card: ModelCard) -> bytes:
    """Return the verified bytes of the card's int8 file.

    Raises `CardError` if there is none, its checksum differs, or it was made from other weights than the card's.
    """
    remedy = f"create it with `resnest-service quantise {card.name}`"
    if card.int8 is None:
        raise WeightsError(f"{card.name}: it has no int8 file; {remedy}")
    try:
        data = (card.folder / card.int8.file).read_bytes()
    except OSError as error:
        raise WeightsError(f"{card.name}: its int8 file cannot be read: {error.strerror}; {remedy}") from error
    if hashlib.sha256(data).hexdigest() != card.int8.sha256:
        raise WeightsError(
            f"{card.name}: {card.folder / card.int8.file} does not have the checksum on its card; {remedy}"
        )
    if card.int8.made_of != card.checksum:
        raise WeightsError(f"{card.name}: its int8 file was made from other weights; {remedy}")
    return data


def read_domain(card: ModelCard) -> bytes:
    """Return the verified bytes of the file of the card's domain score.

    Raises `CardError` if the card has none, or its file is missing or has another checksum.
    """
    domain = card.calibration.domain if card.calibration else None
    remedy = f"repeat `resnest-service calibrate {card.name}`"
    if domain is None:
        raise WeightsError(f"{card.name}: it has no domain score; {remedy}")
    try:
        data = (card.folder / domain.file).read_bytes()
    except OSError as error:
        raise WeightsError(f"{card.name}: {domain.file} of its calibration: {error.strerror}; {remedy}") from error
    if hashlib.sha256(data).hexdigest() != domain.sha256:
        raise WeightsError(f"{card.name}: {card.folder / domain.file} does not have the checksum on its card; {remedy}")
    return data


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits. Raises `OSError`."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _compare(card: ModelCard, found: str) -> None:
    if card.checksum is None:
        raise WeightsError(f"{card.name}: {card.checksum_path}, the checksum of its weights, is missing")
    if found != card.checksum:
        origin = "the card states" if card.weights.sha256 else "it was pulled with"
        raise WeightsError(f"{card.name}: {card.weights_path} has the SHA-256 {found}, but {origin} {card.checksum}")
    if card.calibration and card.calibration.made_of != found:
        remedy = f"repeat `resnest-service calibrate {card.name}`, or remove [calibration] from its card"
        raise WeightsError(f"{card.name}: its calibration was made with other weights; {remedy}")
    if card.calibration and card.calibration.domain:
        read_domain(card)


def _unreadable(card: ModelCard, error: OSError) -> CardError:
    if isinstance(error, FileNotFoundError) and card.weights.sources:
        return WeightsError(
            f"{card.name}: its weights are not here; get them with `resnest-service models pull {card.name}`"
        )
    return WeightsError(f"{card.name}: the weights {card.weights_path} cannot be read: {error.strerror}")
