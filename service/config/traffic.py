"""Read the traffic shares of a model's versions from a file, and choose a version by them.

The file is TOML, with a table for each model whose traffic is split:

    [starter-classifier]
    weights = { "1.0" = 95, "1.1" = 5 }
    sticky = "caller"
    shadow = { version = "1.2", share = 0.1 }

A caller's version is chosen by weighted rendezvous hashing (Thaler and Ravishankar 1998; with logarithmic weights,
Schindelhauer and Schomaker 2005). With fixed weights, a caller always gets the same version. If the weights change, as
few callers as possible get another one.
"""

import hashlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from service.models import text_file
from service.models.atomic_write import FileError
from service.models.cards import VERSION, ModelCard
from service.models.inputs import CardTable

Version = Annotated[str, Field(pattern=VERSION)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class TrafficError(FileError):
    """A traffic file is unusable; the message lists every mistake."""


class Shadow(CardTable):
    """A version that receives a share of the images after they were answered; its answers are only compared."""

    version: Version
    share: float = Field(gt=0, le=1, allow_inf_nan=False)


class Split(CardTable):
    """The traffic split of one model; without weights, its highest version answers every request.

    `sticky` says whether a caller always gets the same version, or each request gets a random one.
    """

    weights: dict[Version, Weight] = Field(default_factory=dict)
    sticky: Literal["caller", "none"] = "caller"
    shadow: Shadow | None = None

    @model_validator(mode="after")
    def _has_weight(self) -> Self:
        if self.weights and not any(self.weights.values()):
            raise ValueError("the weights are all 0")
        return self


Splits = Mapping[str, Split]
FILE = TypeAdapter(dict[str, Split])


def read(file: Path, cards: Iterable[ModelCard]) -> Splits:
    """Return the splits in a file, checked against the served cards. Raise `TrafficError`."""
    try:
        return parse(text_file.read(file), cards)
    except (OSError, ValueError) as error:
        raise TrafficError.of(file, error) from None


def parse(text: str, cards: Iterable[ModelCard]) -> Splits:
    """Return the splits in the text of a file, checked against the served cards. Raise `TrafficError`."""
    try:
        splits = FILE.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TrafficError(str(error)) from None
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise TrafficError("; ".join(mistakes)) from None
    versions = by_version(cards)
    mistakes = [mistake for name, split in splits.items() for mistake in _mistakes(name, split, versions.get(name, {}))]
    if mistakes:
        raise TrafficError("; ".join(mistakes))
    return splits


def by_version(cards: Iterable[ModelCard]) -> dict[str, dict[str, ModelCard]]:
    """Return the cards by name and version, ordered by version."""
    found: dict[str, dict[str, ModelCard]] = {}
    for card in sorted(cards, key=lambda card: card.version_key):
        found.setdefault(card.family, {})[card.version] = card
    return found


def choose(weights: Mapping[str, float], name: str, key: str) -> str:
    """Return the version of a model for `key`, among those with a weight above 0."""
    return max(
        (version for version in weights if weights[version]), key=lambda each: _score(weights[each], name, each, key)
    )


def _score(weight: float, *words: str) -> float:
    """Return a weight divided by an exponential variate. It is the highest with a probability proportional to it."""
    digest = hashlib.blake2b("\0".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52  # strictly between 0 and 1
    return -weight / math.log(uniform)


def _mistakes(name: str, split: Split, served: Mapping[str, ModelCard]) -> Iterable[str]:
    if not served:
        yield f"{name}: no model of that name is served"
        return
    named = [*split.weights, *([split.shadow.version] if split.shadow else [])]
    if missing := [version for version in named if version not in served]:
        yield f"{name}: versions that are not served: {', '.join(missing)}; there are {', '.join(served)}"
    elif len({served[version].task for version in named}) > 1:
        yield f"{name}: its versions belong to several tasks"
