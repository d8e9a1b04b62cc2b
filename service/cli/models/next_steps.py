"""The sentences that name the next command after a model was added to a store, or removed from it."""

import os
import shlex
from pathlib import Path
from typing import Final

from service.models.default_store import default_store

VARIABLE: Final = "RESNEST_MODEL_STORE"


def after_adding(name: str, store: Path) -> str:
    """Return how to serve a new model, with a service that has to be started and with one that runs already."""
    where = _store_option(store)
    return (
        f"Serve it: resnest-service run --models {name}{where}. "
        f"If a service runs already: resnest-service models reload{where}"
    )


def after_removing(store: Path) -> str:
    """Return how to make a service that runs forget what was removed."""
    return f"A service that runs serves it until: resnest-service models reload{_store_option(store)}"


def _store_option(store: Path) -> str:
    """Return the option `--store`, or nothing for the store that commands use without it."""
    usual = Path(os.environ.get(VARIABLE) or default_store())
    return "" if store.resolve() == usual.resolve() else f" --store {shlex.quote(str(store))}"
