"""Run a real control plane on loopback: etcd, kube-apiserver, kube-controller-manager and kube-scheduler.

The controllers are those that scale, roll out and disrupt. No node has a kubelet (see `kubelet.py`). Every program
ends with this process.
"""

import base64
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
import yaml

from service.host.processes import Child, free_ports
from tests.cluster.kubernetes_api import ApiError, KubernetesApi
from tests.deploy.live import until
from tests.deploy.programs import TOP, program

VERSION: Final = "1.20.2"
BINARIES: Final = TOP / "build/control-plane" / VERSION
PROGRAMS: Final = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
CONTROLLERS: Final = ("deployment", "replicaset", "horizontalpodautoscaling", "disruption", "garbagecollector")
METRICS_SERVICE: Final = "metrics"
METRICS_GROUPS: Final = ("external.metrics.k8s.io", "metrics.k8s.io")
STOP_S: Final = 20.0
KUBECONFIG: Final = "kubeconfig"  # in the folder of the logs
MEMORY: Final = Path("/dev/shm")  # noqa: S108 - etcd waits for each write, and a busy disk would stall all controllers
TOKEN: Final = "operator"  # noqa: S105 - of a server on loopback that ends with the tests


def missing() -> list[str]:
    """Return the programs that are not built."""
    return [name for name in PROGRAMS if not os.access(BINARIES / name, os.X_OK)]


@dataclass(frozen=True)
class Certificate:
    """A certificate for loopback that signs itself, and its key."""

    certificate: Path
    key: Path

    @classmethod
    def make(cls, folder: Path) -> "Certificate":
        """Write a new one into a folder."""
        made = cls(folder / "loopback.crt", folder / "loopback.key")
        names = f"subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:{METRICS_SERVICE}.kube-system.svc"
        options = ("-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=loopback", "-addext", names)
        _openssl("req", *options, "-out", made.certificate, "-keyout", made.key)
        return made


@contextmanager
def running(folder: Path, certificate: Certificate, metrics_port: int) -> Iterator[KubernetesApi]:
    """Start the control plane, which asks `metrics_port` of loopback for metrics, and yield its API."""
    etcd, peer, api_port, manager, scheduler = free_ports(5, excluding=(metrics_port,))
    with ExitStack() as running:
        data = running.enter_context(tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None))
        _start(running, folder, "etcd", _etcd(Path(data), etcd, peer))
        _start(running, folder, "kube-apiserver", _api_server(folder, certificate, etcd, api_port))
        api = KubernetesApi(f"https://127.0.0.1:{api_port}", TOKEN, certificate.certificate)
        running.callback(api.close)
        until(lambda: _is_ready(api), "kube-apiserver is ready")
        _register_metrics(api, certificate, metrics_port)
        config = _kubeconfig(folder, certificate, api_port)
        chosen = f"--controllers={','.join(CONTROLLERS)}"
        _start(running, folder, "kube-controller-manager", [chosen, *_common(config, manager, folder)])
        _start(running, folder, "kube-scheduler", _common(config, scheduler, folder))
        yield api


def _openssl(*words: str | Path) -> None:
    command = [program("openssl"), *map(str, words)]
    subprocess.run(command, check=True, capture_output=True)


def _start(running: ExitStack, folder: Path, name: str, options: Sequence[str]) -> None:
    output = running.enter_context((folder / f"{name}.log").open("wb"))
    environment = {"PATH": os.environ.get("PATH", os.defpath)}
    child = Child.start([str(BINARIES / name), *options], environment, folder, output)
    running.callback(child.stop, STOP_S)


def _etcd(data: Path, port: int, peer: int) -> list[str]:
    clients, peers = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer}"
    return [
        f"--data-dir={data}",
        "--heartbeat-interval=500",  # milliseconds, for a busy machine
        "--election-timeout=5000",
        f"--listen-client-urls={clients}",
        f"--advertise-client-urls={clients}",
        f"--listen-peer-urls={peers}",
        f"--initial-advertise-peer-urls={peers}",
        f"--initial-cluster=default={peers}",
    ]


def _api_server(folder: Path, certificate: Certificate, etcd: int, port: int) -> list[str]:
    key, public, tokens = (folder / name for name in ("accounts.key", "accounts.pub", "tokens.csv"))
    _openssl("genrsa", "-out", key, "2048")
    _openssl("rsa", "-in", key, "-pubout", "-out", public)
    tokens.write_text(f"{TOKEN},operator,operator,system:masters\n", encoding="utf-8")
    return [
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        "--endpoint-reconciler-type=none",  # no pod asks for this server
        f"--tls-cert-file={certificate.certificate}",
        f"--tls-private-key-file={certificate.key}",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={key}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        # No controller makes service accounts. A namespace names its own nodes, so that fleets do not share them.
        "--disable-admission-plugins=ServiceAccount",
        "--enable-admission-plugins=PodNodeSelector",
    ]


def _common(config: Path, port: int, folder: Path) -> list[str]:
    where = [f"--secure-port={port}", "--port=0", "--bind-address=127.0.0.1", f"--cert-dir={folder / str(port)}"]
    return [f"--kubeconfig={config}", "--leader-elect=false", *where]


def _kubeconfig(folder: Path, certificate: Certificate, port: int) -> Path:
    server = {"server": f"https://127.0.0.1:{port}", "certificate-authority": str(certificate.certificate)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "loopback", "cluster": server}],
        "users": [{"name": "operator", "user": {"token": TOKEN}}],
        "contexts": [{"name": "loopback", "context": {"cluster": "loopback", "user": "operator"}}],
        "current-context": "loopback",
    }
    path = folder / KUBECONFIG
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return path


def _is_ready(api: KubernetesApi) -> bool:
    try:
        return bool(api.get("/readyz")["message"] == "ok")
    except (ApiError, httpx.TransportError):
        return False


def _register_metrics(api: KubernetesApi, certificate: Certificate, port: int) -> None:
    """Have the server pass requests for metrics on to the port, as it does to metrics-server and an adapter."""
    bundle = base64.b64encode(certificate.certificate.read_bytes()).decode()
    where = {"name": METRICS_SERVICE, "namespace": "kube-system"}
    until(lambda: _exists(api, "/api/v1/namespaces/kube-system"), "the namespace kube-system is there")
    service = {"type": "ExternalName", "externalName": "localhost"}
    api.create({"apiVersion": "v1", "kind": "Service", "metadata": where, "spec": service})
    for group in METRICS_GROUPS:
        spec = {
            "group": group,
            "version": "v1beta1",
            "service": {**where, "port": port},
            "caBundle": bundle,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
        }
        metadata = {"name": f"v1beta1.{group}"}
        api.create(
            {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService", "metadata": metadata, "spec": spec}
        )


def _exists(api: KubernetesApi, path: str) -> bool:
    try:
        api.get(path)
    except ApiError:
        return False
    return True
