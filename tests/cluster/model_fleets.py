"""A namespace whose models have workers, and autoscalers, of their own: a simulated service for each model."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from deploy.kubernetes.model_worker import INSTANCE
from tests.cluster.fleet import WORKER, Fleet
from tests.cluster.kubelet import Behaviour, app_of
from tests.cluster.kubernetes_api import Manifest

CORES: Final = 0.1  # of a gateway: this service scales its workers alone


class ModelFleets:
    """The services of some models in one namespace, by model. Their gateways are the same pods.

    `instances` are the values of the label by which the workers of each model differ.
    """

    def __init__(self, fleets: Mapping[str, Fleet], instances: Mapping[str, str]) -> None:
        (self.namespace,) = {fleet.namespace for fleet in fleets.values()}
        self.behaviour: Behaviour = next(iter(fleets.values())).behaviour
        self._fleets = fleets
        self._instances = instances

    def start(self) -> None:
        """Let callers send images from now on."""
        for fleet in self._fleets.values():
            fleet.start()

    def see(self, pods: Sequence[Manifest]) -> None:
        """Take note of the pods, and advance the services to now."""
        for model, fleet in self._fleets.items():
            fleet.see([pod for pod in pods if app_of(pod) != WORKER or self.is_of(model, pod)])

    def is_of(self, model: str, pod: Manifest) -> bool:
        """Return whether a pod is a worker of a model."""
        return bool(pod["metadata"]["labels"].get(INSTANCE) == self._instances[model])

    def external(self, name: str, models: Sequence[str] = ()) -> float | None:
        """Return the sum of an external metric over these models, or over all; None without a value."""
        values = [fleet.external(name) for model, fleet in self._fleets.items() if not models or model in models]
        known = [value for value in values if value is not None]
        return sum(known) if known else None

    def cores(self) -> Mapping[str, tuple[Mapping[str, Any], float]]:
        """Return the metadata and the cores in use of each ready gateway, by name."""
        fleet = next(iter(self._fleets.values()))
        return {name: (metadata, CORES) for name, (metadata, _) in fleet.cores().items()}
