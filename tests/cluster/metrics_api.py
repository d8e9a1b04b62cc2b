"""Serve the two metric APIs that autoscalers ask, as prometheus-adapter and metrics-server do, from simulated fleets.

`external.metrics.k8s.io` has the metrics of deploy/prometheus/adapter.yml by namespace, `metrics.k8s.io` the CPU time
of pods. A metric without a value is not found, as the adapter answers for a query without a result.
"""

import http.server
import json
import re
import ssl
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from tests.cluster.control_plane import Certificate

NOT_FOUND: Final = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}


class MetricSource(Protocol):
    """The metrics of a namespace."""

    def external(self, name: str, models: Sequence[str] = ()) -> float | None:
        """Return the value of an external metric of these models, or of all, or None."""

    def cores(self) -> Mapping[str, tuple[Mapping[str, Any], float]]:
        """Return the metadata and the cores in use of each pod that runs, by name."""


@contextmanager
def served(sources: Mapping[str, MetricSource], certificate: Certificate) -> Iterator[int]:
    """Serve the metrics of `sources`, by namespace, on a free port of loopback; yield the port."""

    class Handler(_Handler):
        fleets = sources

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    # Each connection's thread shakes hands, so that none holds up the others.
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fleets: Mapping[str, MetricSource]

    def do_GET(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        match url.path.strip("/").split("/"):
            case ["apis", "external.metrics.k8s.io", "v1beta1"]:
                self._answer(_resources("external.metrics.k8s.io/v1beta1", "*", "ExternalMetricValueList", ["get"]))
            case ["apis", "metrics.k8s.io", "v1beta1"]:
                self._answer(_resources("metrics.k8s.io/v1beta1", "pods", "PodMetrics", ["get", "list"]))
            case ["apis", "external.metrics.k8s.io", "v1beta1", "namespaces", namespace, name]:
                self._answer(self._external(namespace, name, _models(url.query)))
            case ["apis", "metrics.k8s.io", "v1beta1", "namespaces", namespace, "pods"]:
                selector = urllib.parse.parse_qs(url.query).get("labelSelector", [""])[0]
                self._answer(self._pods(namespace, selector))
            case _:
                self._answer(None)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
        """Log nothing."""

    def _external(self, namespace: str, name: str, models: Sequence[str]) -> dict[str, Any] | None:
        source = self.fleets.get(namespace)
        value = None if source is None else source.external(name, models)
        if value is None:
            return None
        item = {"metricName": name, "metricLabels": {}, "timestamp": _now(), "value": f"{round(1000 * value)}m"}
        return _list("external.metrics.k8s.io/v1beta1", "ExternalMetricValueList", [item])

    def _pods(self, namespace: str, selector: str) -> dict[str, Any]:
        wanted = dict(each.split("=", 1) for each in selector.split(",") if each)
        source = self.fleets.get(namespace)
        items = [
            {
                "metadata": {"name": name, "namespace": namespace, "labels": metadata["labels"]},
                "timestamp": _now(),
                "window": "15s",
                "containers": [{"name": "all", "usage": {"cpu": f"{round(1000 * cores)}m", "memory": "500Mi"}}],
            }
            for name, (metadata, cores) in ({} if source is None else source.cores()).items()
            if wanted.items() <= metadata["labels"].items()
        ]
        return _list("metrics.k8s.io/v1beta1", "PodMetricsList", items)

    def _answer(self, document: Mapping[str, Any] | None) -> None:
        body = json.dumps(NOT_FOUND if document is None else document).encode()
        self.send_response(404 if document is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _models(query: str) -> list[str]:
    """Return the models that an autoscaler selects: the label selector `model in (a,b)`, or `model=a`."""
    selector = urllib.parse.parse_qs(query).get("labelSelector", [""])[0]
    found = re.fullmatch(r"model(?: in \(|=)([^)]+)\)?", selector)
    return found[1].split(",") if found else []


def _resources(version: str, name: str, kind: str, verbs: list[str]) -> dict[str, Any]:
    resource = {"name": name, "singularName": "", "namespaced": True, "kind": kind, "verbs": verbs}
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": version, "resources": [resource]}


def _list(version: str, kind: str, items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"kind": kind, "apiVersion": version, "metadata": {}, "items": items}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
