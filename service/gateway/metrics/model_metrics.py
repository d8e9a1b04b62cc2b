"""Define the metrics of models, their batches, workers and versions.

A comment names the readers of each. Label values come only from cards.
"""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from service.errors import every_error
from service.gateway.metrics import label_values as values
from service.gateway.metrics.current_series import labels_of
from service.gateway.metrics.request_metrics import RequestMetrics
from service.gateway.metrics.series import BATCH_SIZES, LATEST, MAX, SECONDS, SUM
from service.gateway.metrics.tracing import NO_SPANS, Tracing
from service.models.cards import ModelCard
from service.tasks.frame import RUNTIMES, Runtime


class ModelMetrics(RequestMetrics):
    """The metrics of the models that one app serves."""

    def __init__(self, shared: Path | None = None, spans: Tracing = NO_SPANS, *, counts_restarts: bool = True) -> None:
        """Create them, in a folder that gateway processes share if `shared` is one.

        Each of the processes sees every worker, so only one of them should count restarts.
        """
        super().__init__(shared, spans)
        self._counts_restarts = counts_restarts
        self._define_image_metrics()
        self._define_batch_metrics()
        self._define_worker_metrics()
        self._define_readiness_metrics()
        self._define_version_metrics()

    def _define_image_metrics(self) -> None:
        # Read by: dashboard "Stages" (where the time goes).
        self.stages = self._histogram(
            "resnest_stage_duration_seconds", "Time an image spends in each stage", ["model", "stage"], SECONDS
        )
        # Read by: the horizontal autoscaler of the workers, dashboards "Load", "Replicas" (offered).
        self.images_offered = self._counter(
            "resnest_images_offered_total",
            "Images for a model, admitted or rejected, that are not in the response cache; 1 for a body not yet read",
            ["model"],
        )
        # Read by: dashboards "Stages" (outcomes), "Load" and "Cost" (throughput), alert on failed images.
        self.images = self._counter("resnest_images_total", "Images by model and outcome", ["model", "outcome"])
        # Read by: dashboard "Model servers" (images by transport), alert on batches that stay small (who sees whom).
        self.images_sent = self._counter(
            "resnest_images_sent_total", "Images sent, in shared memory or as bytes", ["model", "transport"]
        )

    def _define_batch_metrics(self) -> None:
        # Read by: dashboard "Batching" (batch size), alert on batches that stay small.
        self.batch_size = self._histogram(
            "resnest_batch_size",
            "Images in the forward pass; each image of the batch is one sample",
            ["model"],
            BATCH_SIZES,
        )
        # Read by: dashboard "Batching" (batch fill), alert on batches that stay small.
        self.batch_size_limit = self._gauge(
            "resnest_batch_size_limit", "Images in a batch of the model, at most, by its card", ["model"], LATEST
        )
        # Read by: dashboard "Batching" (halved batches), alert on halved batches.
        self.images_halved = self._counter(
            "resnest_images_in_halved_batches_total",
            "Images whose batch did not fit into memory, so that it was computed in smaller passes",
            ["model"],
        )
        # Read by: the horizontal autoscaler of the workers, dashboards "Batching", "Replicas" (images in flight).
        self.inference_in_flight = self._gauge(
            "resnest_inference_in_flight", "Images queued for a model or being computed by it", ["model"], SUM
        )

    def _define_worker_metrics(self) -> None:
        # Read by: dashboard "Health" (workers), alert on missing workers.
        self.workers_ready = self._gauge("resnest_workers_ready", "Workers that are ready", ["model"], LATEST)
        # Read by: dashboard "Health" (workers), alert on missing workers.
        self.workers_configured = self._gauge(
            "resnest_workers_configured", "Workers that the model server is configured to run", ["model"], LATEST
        )
        # Read by: dashboards "Model servers", "Replicas" (servers), alert on a circuit breaker that stays open.
        self.circuit_breakers = self._gauge(
            "resnest_circuit_breakers", "Replicas by circuit breaker state", ["model", "state"], MAX
        )
        # Read by: dashboard "Health" (worker restarts), alert on crash loops. Each gateway sees every worker.
        self.worker_restarts = self._counter(
            "resnest_worker_restarts_total",
            "Worker processes that were replaced, alone or with their model server, as this gateway has seen it",
            ["model", "cause"],
        )
        # Read by: dashboard "Occupancy" (busy share).
        self.busy_seconds = self._counter(
            "resnest_model_busy_seconds_total", "Time that workers have spent on batches, in seconds", ["model"]
        )
        # Read by: dashboard "Health" (time since the last success).
        self.last_success = self._gauge(
            "resnest_model_last_success_timestamp_seconds", "Unix time of the last successful image", ["model"], MAX
        )
        # Read by: dashboard "Health" (models and engines), alert on batches that stay small (device).
        self.model_info = self._gauge(
            "resnest_model_info",
            "1 for the engine and the device of the worker that answered last, 0 for others; precision by the card",
            ["model", "version", "task", "precision", "engine", "device"],
            LATEST,
        )
        # Read by: dashboard "Model servers" (retries).
        self.retries = self._counter(
            "resnest_retries_total",
            "Retries: on another replica or connection, or of one image from a failed batch",
            ["model", "outcome"],
        )

    def _define_readiness_metrics(self) -> None:
        # Read by: dashboard "Health" (ready), alert on a model that is not ready.
        self.model_ready = self._gauge(
            "resnest_model_ready", "1 if the model, or a version of it with traffic, can answer", ["model"], LATEST
        )
        # Read by: dashboard "Health" (refused), alert on a model that was left out.
        self.model_refused = self._gauge(
            "resnest_model_refused", "1 if the model servers have left the model out at their start", ["model"], LATEST
        )
        # Read by: alert on gateways and workers with different model stores.
        self.replicas_mismatched = self._gauge(
            "resnest_replicas_mismatched", "Replicas with other files of the model than this gateway", ["model"], MAX
        )

    def _define_version_metrics(self) -> None:
        # Read by: dashboard "Versions" (shares); the other panels of that row take the version names from it.
        self.version_share = self._gauge(
            "resnest_version_share",
            "Share of the requests without a version that this version of the model receives, 0 to 1",
            ["model", "family", "version"],
            LATEST,
        )
        # Read by: dashboard "Versions" (shadow traffic).
        self.shadow_images = self._counter(
            "resnest_shadow_images_total", "Images chosen for shadow traffic", ["family", "version", "outcome"]
        )
        # Read by: dashboard "Versions" (agreement).
        self.shadow_agreement = self._counter(
            "resnest_shadow_agreement_total",
            "Sum over compared images of the agreement with the returned answer, 0 to 1 each",
            ["family", "version"],
        )

    def serve(self, cards: Iterable[ModelCard], share: Callable[[ModelCard], float]) -> None:
        """Report these models, and the share of each version at each scrape. Create the series of new ones."""
        self._current.set_models(cards := list(cards))
        self._models_at_scrape.clear()
        for card in cards:
            self._start_model_at_zero(card)
            self.batch_size_limit.labels(card.name).set(card.serving.batch_size)
            labels = card.name, card.family, card.version
            self._models_at_scrape.append((self.version_share.labels(*labels), partial(share, card)))
            self.shadow_agreement.labels(card.family, card.version)
            for outcome in values.SHADOW_OUTCOMES:
                self.shadow_images.labels(card.family, card.version, outcome)

    def report_runtime(self, card: ModelCard, runtime: Runtime | None) -> None:
        """Report what runs a model, as a worker has said; nothing before one has."""
        if runtime is not None:
            values_of_card = labels_of(card).values()
            for each in RUNTIMES:
                self.model_info.labels(*values_of_card, *each).set(each == runtime)

    def count_offered(self, models: Iterable[str], images: int = 1) -> None:
        """Count images for models that are not in the response cache, before they are admitted or rejected."""
        for model in models:
            self.images_offered.labels(model).inc(images)

    def count_success(self, model: str, inference_s: float, batch: int, *, is_halved: bool) -> None:
        """Count an image that a model has computed in a batch of that size, in `inference_s` seconds.

        `is_halved` says that its batch did not fit into memory.
        """
        self.images.labels(model, "ok").inc()
        self.busy_seconds.labels(model).inc(inference_s / batch)  # each image of the batch counts its part
        self.last_success.labels(model).set_to_current_time()
        if is_halved:
            self.images_halved.labels(model).inc()

    def count_restarts(self, model: str, cause: values.RestartCause, processes: int) -> None:
        """Count worker processes of a model that were replaced, possibly none."""
        if self._counts_restarts:
            self.worker_restarts.labels(model, cause).inc(processes)

    def count_retry(self, model: str, outcome: str) -> None:
        """Count a retry of a request to a model; `outcome` is one of `RETRY_OUTCOMES`."""
        self.retries.labels(model, outcome).inc()

    def count_sent(self, model: str, transport: str, images: int) -> None:
        """Count images that were sent to a model server; `transport` is one of `TRANSPORTS`."""
        self.images_sent.labels(model, transport).inc(images)

    def _start_model_at_zero(self, card: ModelCard) -> None:
        model, failures = card.name, [error.code() for error in every_error() if error.status >= 500]
        for outcome in ("ok", values.CALLER_DEADLINE, *failures):
            self.images.labels(model, outcome)
        for outcome in values.RETRY_OUTCOMES:
            self.retries.labels(model, outcome)
        for transport in values.TRANSPORTS:
            self.images_sent.labels(model, transport)
        for cause in values.RESTART_CAUSES:
            self.worker_restarts.labels(model, cause)
        for metric in (self.inference_in_flight, self.workers_ready, self.workers_configured, self.busy_seconds):
            metric.labels(model)
        for counter in (self.images_offered, self.images_halved):
            counter.labels(model)
