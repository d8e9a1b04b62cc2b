"""Which version of a model answers: shares of the traffic by a file, and a choice that is each time the same.

The file is TOML, with a table for each model whose requests are to be spread:

    [starter-classifier]
    weights = { "1.0" = 95, "1.1" = 5 }
    sticky = "caller"
    shadow = { version = "1.2", share = 0.1 }

A caller is given a version by weighted rendezvous hashing (Thaler and Ravishankar 1998; weighted by logarithms,
Schindelhauer and Schomaker 2005): at fixed weights always the same one, and of a change of the weights only those move
that it has to move.
"""

import hashlib
import math
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from service.models.cards import VERSION, ModelCard
from service.models.files import FileError
from service.models.inputs import CardTable

Version = Annotated[str, Field(pattern=VERSION)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class TrafficError(FileError):
    """A traffic file that cannot be used; one sentence with every mistake in it."""


class Shadow(CardTable):
    """A version that is shown a share of the pictures after they were answered, and answers nobody."""

    version: Version
    share: float = Field(gt=0, le=1, allow_inf_nan=False)


class Split(CardTable):
    """How one model's requests are spread; without weights its highest version answers them all.

    `sticky` says whether a caller stays with a version, or each request is given one by chance.
    """

    weights: dict[Version, Weight] = Field(default_factory=dict)
    sticky: Literal["caller", "none"] = "caller"
    shadow: Shadow | None = None

    @model_validator(mode="after")
    def _sends_somewhere(self) -> Self:
        if self.weights and not any(self.weights.values()):
            raise ValueError("the weights are all 0")
        return self


Splits = Mapping[str, Split]
FILE = TypeAdapter(dict[str, Split])


def read(file: Path, cards: Iterable[ModelCard]) -> Splits:
    """What a file says, for the served cards. Raises `TrafficError`."""
    try:
        return parse(file.read_text(encoding="utf-8"), cards)
    except (OSError, ValueError) as error:
        raise TrafficError.of(file, error) from None


def parse(text: str, cards: Iterable[ModelCard]) -> Splits:
    """The splits of a file, for the served cards. Raises `TrafficError`."""
    try:
        splits = FILE.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise TrafficError(str(error)) from None
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()]
        raise TrafficError("; ".join(mistakes)) from None
    versions = by_version(cards)
    mistakes = [mistake for name, split in splits.items() for mistake in _misfits(name, split, versions.get(name, {}))]
    if mistakes:
        raise TrafficError("; ".join(mistakes))
    return splits


def by_version(cards: Iterable[ModelCard]) -> dict[str, dict[str, ModelCard]]:
    """The cards by name and version, the highest version of a name last."""
    found: dict[str, dict[str, ModelCard]] = {}
    for card in sorted(cards, key=lambda card: card.order):
        found.setdefault(card.family, {})[card.version] = card
    return found


def choose(weights: Mapping[str, float], name: str, key: str) -> str:
    """The version of a model that `key` is given; one of those whose weight is above 0."""
    return max(
        (version for version in weights if weights[version]), key=lambda each: _score(weights[each], name, each, key)
    )


def _score(weight: float, *words: str) -> float:
    """Weights over exponentially distributed numbers: each is the highest with the probability of its weight."""
    digest = hashlib.blake2b("\0".join(words).encode("utf-8", "surrogatepass"), digest_size=8).digest()
    uniform = ((int.from_bytes(digest, "big") >> 12) + 0.5) / 2**52  # above 0 and below 1, exactly
    return -weight / math.log(uniform)


def _misfits(name: str, split: Split, served: Mapping[str, ModelCard]) -> Iterable[str]:
    if not served:
        yield f"{name}: no model of that name is served"
        return
    named = [*split.weights, *([split.shadow.version] if split.shadow else [])]
    if missing := [version for version in named if version not in served]:
        yield f"{name}: of the versions {', '.join(missing)} none is served; there are {', '.join(served)}"
    elif len({served[version].task for version in named}) > 1:
        yield f"{name}: its versions are of several tasks"
