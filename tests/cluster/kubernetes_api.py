"""Speak to a Kubernetes API server: paths of objects, and requests whose failure says why."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import httpx

Manifest = Mapping[str, Any]

CLUSTER_WIDE: Final = frozenset(("APIService", "CustomResourceDefinition", "Namespace", "Node", "PriorityClass"))
MERGE: Final = "application/merge-patch+json"
CONFLICT: Final = 409
TOO_MANY: Final = 429  # an eviction that a disruption budget forbids


class ApiError(RuntimeError):
    """The server refused a request. `status` is the HTTP status, the message is the server's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


def collection(version: str, kind: str, namespace: str) -> str:
    """Return the path under which the server lists the objects of a kind in a namespace."""
    group = f"/api/{version}" if "/" not in version else f"/apis/{version}"
    inside = "" if kind in CLUSTER_WIDE else f"/namespaces/{namespace}"
    return f"{group}{inside}/{_plural(kind)}"


def path_of(manifest: Manifest) -> str:
    """Return the path of an object."""
    metadata = manifest["metadata"]
    return f"{_collection_of(manifest)}/{metadata['name']}"


def _collection_of(manifest: Manifest) -> str:
    return collection(manifest["apiVersion"], manifest["kind"], manifest["metadata"].get("namespace", "default"))


def _plural(kind: str) -> str:
    name = kind.lower()
    if name.endswith("y"):
        return f"{name[:-1]}ies"
    return f"{name}es" if name.endswith("ss") else f"{name}s"


class KubernetesApi:
    """A client of one API server. Threads may share it."""

    def __init__(self, address: str, token: str, certificate: Path) -> None:
        trusted = ssl.create_default_context(cafile=str(certificate))
        headers = {"Authorization": f"Bearer {token}"}
        self._client = httpx.Client(base_url=address, verify=trusted, headers=headers, timeout=30)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return the object or list at a path. Raises `ApiError`."""
        return self._ask("GET", path)

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> dict[str, Any]:
        """Create an object, or only have the server check it; return it with the server's defaults."""
        return self._ask("POST", _collection_of(manifest), manifest, params={"dryRun": "All"} if dry_run else {})

    def patch(self, path: str, change: Manifest) -> dict[str, Any]:
        """Merge a change into the object at a path; a list replaces the whole list."""
        return self._ask("PATCH", path, change, content_type=MERGE)

    def delete(self, path: str, grace_s: int | None = None, *, orphan: bool = False) -> None:
        """Delete the object at a path. With `grace_s` 0, a pod is gone at once. `orphan` leaves what it owns."""
        options = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": grace_s}
        options["propagationPolicy"] = "Orphan" if orphan else None
        self._ask("DELETE", path, {name: value for name, value in options.items() if value is not None})

    def evict(self, namespace: str, pod: str) -> bool:
        """Evict a pod as a drain does. Return False if a disruption budget does not allow it now."""
        path = f"/api/v1/namespaces/{namespace}/pods/{pod}"
        eviction = {"apiVersion": "policy/v1beta1", "kind": "Eviction", "metadata": {"name": pod}}
        try:
            self._ask("POST", f"{path}/eviction", {**eviction, "metadata": {"name": pod, "namespace": namespace}})
        except ApiError as error:
            if error.status == TOO_MANY:
                return False
            raise
        return True

    def _ask(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        content_type: str = "application/json",
        params: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        answer = self._client.request(method, path, json=body, headers={"Content-Type": content_type}, params=params)
        found: dict[str, Any] = answer.json() if answer.content.startswith(b"{") else {"message": answer.text}
        if not answer.is_success:
            raise ApiError(answer.status_code, str(found.get("message", answer.reason_phrase)))
        return found
