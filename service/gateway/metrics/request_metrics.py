"""Define the metrics of requests, whatever they ask for, and count a request that has ended."""

from pathlib import Path

from service.errors import DeadlineExceeded, Overloaded, ServiceError
from service.gateway.metrics.series import BYTES, SECONDS, SUM, Series
from service.gateway.metrics.tracing import NO_SPANS, Tracing


class RequestMetrics(Series):
    """The metrics of the requests to one app. A comment names the readers of each."""

    def __init__(self, shared: Path | None = None, spans: Tracing = NO_SPANS) -> None:
        """Create them, in a folder that gateway processes share if `shared` is one."""
        super().__init__(shared, spans)
        # Read by: dashboard "Requests" (rate, errors), dashboard "Objectives", alerts on the share of 5xx.
        self.requests = self._counter(
            "resnest_http_requests_total", "HTTP requests completed", ["route", "method", "status"]
        )
        # Read by: dashboard "Requests" (latency).
        self.duration = self._histogram(
            "resnest_http_request_duration_seconds",
            "Time from the start of a request to the end of its response",
            ["route", "method"],
            SECONDS,
        )
        # Read by: dashboard "Overview" (p99), dashboard "Objectives" (latency), alert on the 99th percentile.
        self.processing = self._histogram(
            "resnest_http_request_processing_seconds",
            "Time from the end of a request's body until its response is complete, without the time on the network",
            ["route", "method"],
            SECONDS,
        )
        # Read by: dashboard "Requests" (callers). The label is the name of the API key: one series a key.
        self.callers = self._counter(
            "resnest_caller_requests_total",
            "Requests by caller and by whether access was granted",
            ["caller", "outcome"],
        )
        # Read by: dashboard "Requests" (saturation).
        self.in_flight = self._gauge("resnest_http_requests_in_flight", "HTTP requests in progress", ["route"], SUM)
        # Read by: dashboard "Stages" (upload sizes).
        self.upload_bytes = self._histogram("resnest_upload_bytes", "Size of a request body in bytes", ["route"], BYTES)
        self._define_problem_metrics()

    def _define_problem_metrics(self) -> None:
        # Read by: dashboard "Requests" (problems by code), alert on rejections for lack of capacity.
        self.problems = self._counter(
            "resnest_problems_total", "Problem documents returned, except to probes, by problem code", ["code"]
        )
        # Read by: objectives and alerts, which leave these failures out; dashboard "Requests" (excused).
        self.caller_deadlines = self._counter(
            "resnest_caller_deadlines_total",
            "Requests answered 504 at a deadline that the caller had set, shorter than the model's",
            ["route"],
        )
        # Read by: objectives and alerts, which leave these failures out; dashboard "Requests" (excused).
        self.background_rejections = self._counter(
            "resnest_background_rejections_total",
            "Background requests answered 503 overloaded, which their callers send again when there is room",
            ["route"],
        )

    def count_request(self, route: str, method: str, status: int, took_s: float, processing_s: float) -> None:
        """Count a request, the seconds that it took, and those between the end of its body and its response."""
        self.requests.labels(route, method, str(status)).inc()
        self.duration.labels(route, method).observe(took_s)
        self.processing.labels(route, method).observe(processing_s)

    def count_excused(self, route: str, code: str, *, ends_early: bool, is_background: bool) -> None:
        """Count a problem that is no fault of the service, if it is one of these.

        `ends_early` says that the caller's deadline was shorter than the model's, `is_background` that it can wait.
        """
        if code == DeadlineExceeded.code() and ends_early:
            self.caller_deadlines.labels(route).inc()
        elif code == Overloaded.code() and is_background:
            self.background_rejections.labels(route).inc()

    def count_rejected(self, error: ServiceError) -> None:
        """Count a request that was rejected before it reached the application, and so before its route was known."""
        self.problems.labels(error.code()).inc()
        self.requests.labels("unparsed", "other", str(error.status)).inc()
