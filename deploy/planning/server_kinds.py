"""The kinds of model servers that are planned with: measured by `resnest-service capacity`, or assumed."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ServerKind:
    """A model server: a batch of n images takes `batch_s + n * image_s` seconds, for n up to `most`.

    `bound_s` is the latency bound of an image in queue and batch. `source` says where the numbers are from.
    """

    name: str
    source: str
    batch_s: float
    image_s: float
    most: int
    bound_s: float
    cold_start_s: float
    price_per_hour: float

    @property
    def capacity(self) -> float:
        """Images a second with full batches."""
        return self.most / (self.batch_s + self.image_s * self.most)


@dataclass(frozen=True)
class Assumptions:
    """What `assumptions.toml` says of the service, and the kinds of servers."""

    service: dict[str, float]
    kinds: tuple[ServerKind, ...]

    def kind(self, name: str) -> ServerKind:
        """Return the kind of this name."""
        return next(each for each in self.kinds if each.name == name)


def read(folder: Path = FOLDER) -> Assumptions:
    """Return the assumptions and the measurements in a folder. Raises `KeyError` for a missing number."""
    tables = tomllib.loads((folder / "assumptions.toml").read_text(encoding="utf-8"))
    kinds = [ServerKind(name, f"assumed: {each.pop('because')}", **each) for name, each in tables["assumed"].items()]
    own = tables.get("measured", {})
    kinds += [measured(folder / "measured" / f"{name}.json", name, each) for name, each in own.items()]
    return Assumptions(tables["service"], tuple(kinds))


def measured(path: Path, name: str, more: dict[str, Any]) -> ServerKind:
    """Return the kind that a file of `resnest-service capacity --json` describes. `more` is what it cannot know."""
    document = json.loads(path.read_text(encoding="utf-8"))
    host = document["host"]
    where = f"{host['cores']} cores, a load of {host['load_average']:.0f}, {document['measured_at'][:10]}"
    return ServerKind(name, f"measured: {where}", **document["curve"], **more)
