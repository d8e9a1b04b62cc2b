"""Registers models at the running model server, and unregisters them, by its management API."""

import json
import os
from collections.abc import Iterable

from service.host import health
from service.host.torchserve import connections_per_engine
from service.models.cards import ModelCard

REGISTER_S = 15.0  # it reads the archive's configuration, and waits for no process
UNREGISTER_S = 20.0  # it kills the worker processes, and waits for their ends


class ModelServerError(RuntimeError):
    """The model server refuses a model; the message is one sentence."""


class ModelServer:
    """The management API at one address, which only the supervisor uses for changes."""

    def __init__(self, management: str) -> None:
        self._management = management

    def register(self, card: ModelCard) -> None:
        """Register a packaged model, and start its worker processes, without waiting for them.

        Raises `ModelServerError`.
        """
        workers = card.serving.workers * connections_per_engine(os.environ)
        name = card.server_name
        path = f"/models?url={name}&model_name={name}&initial_workers={workers}&synchronous=false"
        status, body = health.get(self._management, path, REGISTER_S, "POST")
        if status not in {200, 202}:
            raise ModelServerError(f"{card.name}: the model server does not register it: {_message(status, body)}")

    def unregister(self, card: ModelCard) -> None:
        """End the worker processes of a model. One that is not registered is done already.

        Raises `ModelServerError`.
        """
        status, body = health.get(self._management, f"/models/{card.server_name}", UNREGISTER_S, "DELETE")
        if status not in {200, 202, 404}:
            raise ModelServerError(f"{card.name}: the model server does not remove it: {_message(status, body)}")

    def unready(self, cards: Iterable[ModelCard]) -> list[str]:
        """Return the names of the models that have not all their worker processes ready."""
        return [card.name for card in cards if health.unready_models(self._management, [card.server_name], whole=True)]


def _message(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return f"status {status}" if status else "it does not answer"
